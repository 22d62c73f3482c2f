# Adds up the last lines of several pytest runs ("10 passed, 1 skipped in 2.50s (0:00:02)") to one in the same words.
{
    for (i = 1; i < NF; i++) {
        word = $(i + 1)
        sub(/,$/, "", word)
        if ($i == "in") seconds += word # awk reads the number before the s
        else if ($i ~ /^[0-9]+$/ && word ~ /^[a-z]+$/) {
            if (!(word in count)) order[++kinds] = word
            count[word] += $i
        }
    }
}
END {
    for (k = 1; k <= kinds; k++) printf "%s%d %s", (k > 1 ? ", " : ""), count[order[k]], order[k]
    printf " in %.2fs\n", seconds
}
