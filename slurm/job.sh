# shellcheck shell=bash
# Read by every job file of this folder: the site's settings, node-local caches, how a step is started, stopped and
# requeued, and a word in OUT/slurm/events/ at the beginning and at the end, which `hews status` reads.

HEWS_SLURM="${HEWS_SLURM:-${SLURM_SUBMIT_DIR:-$PWD}/slurm}"
HEWS_SITE="${HEWS_SITE:-$HEWS_SLURM/site.env}"
hews_setup() { :; }
# shellcheck source=slurm/site.env
if [ -f "$HEWS_SITE" ]; then . "$HEWS_SITE"; fi

EXIT_USER_ERROR=2 # the same mistake would be made again
EXIT_PREEMPTED=75 # `hews train` wrote a checkpoint because it was told to stop
CLIENT_S=60       # SLURM's own clients wait for minutes where the controller does not answer

say() { echo "hews: $*" >&2; }

begin() { # begin STAGE WHAT [FOLDER]: settings, caches and folders; sets OUT (FOLDER, or runs/NAME), PYTHON, SRUN
    STAGE=$1
    OUT="${HEWS_OUT:-${3:-runs/$(basename "${2%.toml}")}}"
    mkdir -p "$OUT/slurm/events"
    EVENTS="$OUT/slurm/events/$STAGE${SLURM_ARRAY_TASK_ID:+-$SLURM_ARRAY_TASK_ID}.tsv"
    word begin "$(hostname -s)"
    trap 'ended $?' EXIT
    hews_setup
    scratch="${HEWS_SCRATCH:-${SLURM_TMPDIR:-${TMPDIR:-/tmp}}}/hews-$(id -un)"
    export NUMBA_CACHE_DIR="$scratch/numba" CUPY_CACHE_DIR="$scratch/cupy" TMPDIR="$scratch/tmp"
    make_scratch "$scratch"
    PYTHON=("${HEWS_PYTHON:-python}")
    if [ -n "${HEWS_CONTAINER:-}" ]; then
        # shellcheck disable=SC2206 # several options in one word of site.env
        PYTHON=(apptainer exec --bind "$scratch" ${HEWS_CONTAINER_OPTIONS:-} "$HEWS_CONTAINER" "${HEWS_PYTHON:-python}")
    fi
    # srun does not take over --cpus-per-task from sbatch. Once a task has ended the others have a minute: one that failed
    # ends all, which could only wait for it, but tasks that all stop with a checkpoint are not killed at it.
    SRUN=(srun --kill-on-bad-exit=0 --wait=60 "--cpus-per-task=${SLURM_CPUS_PER_TASK:-1}")
    CHILDREN=()
}

make_scratch() { # make_scratch DIR: its folders, private to this user; what runs from there must be nobody else's
    mkdir -p "$(dirname "$1")"
    mkdir -m 700 "$1" 2>/dev/null || true
    if [ ! -d "$1" ] || [ -L "$1" ] || [ ! -O "$1" ] || [ -n "$(find "$1" -maxdepth 0 -perm /022)" ]; then
        echo "hews: $1 is not a folder that only you can write to; set HEWS_SCRATCH to one of your own" >&2
        return "${EXIT_USER_ERROR:-2}"
    fi
    chmod 700 "$1"
    mkdir -p "$1/numba" "$1/cupy" "$1/tmp"
}

scratch_everywhere() { on_each_node bash -c "$(declare -f make_scratch); make_scratch \"\$1\"" bash "${TMPDIR%/tmp}"; }

word() { # word EVENT DETAIL: one line for `hews status`
    printf '%s\t%s\t%s\t%s\t%s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$SLURM_JOB_ID" "${SLURM_RESTART_COUNT:-0}" \
        "$1" "$2" >>"$EVENTS"
}

ended() { # the last thing a job does, however it ends
    trap '' USR2 TERM
    for child in "${CHILDREN[@]}"; do kill "$child" 2>/dev/null || true; done
    word end "$1"
}

hews() { "${PYTHON[@]}" -m hews_gpu "$@"; } # on this node

on_each_node() { # one task per node, beside whatever runs there
    local limit=()
    if [ "$1" = true ] || [ "$1" = bash ]; then limit=(timeout "$CLIENT_S"); fi
    "${limit[@]}" srun --overlap --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
        --ntasks-per-node=1 "$@"
}

step() { # step COMMAND...: `hews COMMAND` as one task per GPU, in the background, so that this shell hears signals
    # Where the first process is met: the address by which SLURM itself reaches the first node.
    local first
    first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
    MASTER_ADDR="$(timeout "$CLIENT_S" scontrol show node "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')"
    export MASTER_ADDR
    # Every node needs the folders that `begin` has made on the first.
    if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
        scratch_everywhere || node_lost "a node does not answer"
    fi
    told=0 asked=0 code=0
    "${SRUN[@]}" "${PYTHON[@]}" -m hews_gpu "$@" &
    local tasks=$!
    trap 'told=1 asked=1; say "told to stop: passing it on"; kill -USR2 '"$tasks"' 2>/dev/null || true' USR2 TERM
    while :; do
        code=0
        wait "$tasks" || code=$?
        [ "$told" = 1 ] || break # otherwise it was the signal that ended the waiting
        told=0
    done
    case "$code" in
    0 | "$EXIT_USER_ERROR") return "$code" ;;
    "$EXIT_PREEMPTED") requeue "stopped, with a checkpoint" ;;
    esac
    if [ "$asked" = 1 ]; then requeue "stopped with code $code; the last whole checkpoint counts"; fi
    on_each_node true || node_lost "code $code, and a node does not answer"
    return "$code"
}

node_lost() { # node_lost WHY: SLURM itself takes the job back once it has noticed, which is better than being asked to
    say "$1; waiting for SLURM to notice"
    word requeue "$1"
    trap - EXIT USR2 TERM
    sleep "${HEWS_NODE_PATIENCE_S:-900}" # slurm.conf's SlurmdTimeout is 300 s unless a site says otherwise
    requeue "$1"
}

requeue() { # requeue WHY: give the job back to the queue; it goes on from its last checkpoint
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "${HEWS_MAX_REQUEUES:-50}" ]; then
        say "$1; not requeued: that was done ${SLURM_RESTART_COUNT} times (HEWS_MAX_REQUEUES)"
        exit "$EXIT_PREEMPTED"
    fi
    say "$1; back to the queue"
    word requeue "$1"
    trap '' USR2
    trap - EXIT TERM
    if timeout "$CLIENT_S" scontrol requeue "$SLURM_JOB_ID"; then
        sleep 300 # SLURM ends this script before
    fi
    say "SLURM did not take the job back; submit it again: it goes on from its last checkpoint"
    word end "$EXIT_PREEMPTED"
    exit "$EXIT_PREEMPTED"
}

dask_cluster() { # a Dask scheduler here and workers on all nodes: one per GPU, or one per node where there are none
    SCHEDULER="$OUT/slurm/scheduler-$SLURM_JOB_ID.json"
    local log="$OUT/slurm/dask-$SLURM_JOB_ID" count="$SLURM_JOB_NUM_NODES" worker role own=()
    rm -f "$SCHEDULER"
    mkdir -p "$log"
    # A scheduler runs what it is sent: all of them speak TLS with a key of this job's own, and serve no web pages.
    KEYS="$log/keys"
    "${PYTHON[@]}" -m hews_gpu.cluster.dask_workers keys "$KEYS"
    export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True DASK_DISTRIBUTED__COMM__TLS__CA_FILE="$KEYS/cert.pem"
    for role in SCHEDULER WORKER CLIENT; do
        export "DASK_DISTRIBUTED__COMM__TLS__${role}__CERT=$KEYS/cert.pem"
        export "DASK_DISTRIBUTED__COMM__TLS__${role}__KEY=$KEYS/key.pem"
    done
    if [ -n "${HEWS_DASHBOARD:-}" ]; then
        own=(--dashboard-address "$HEWS_DASHBOARD")
    else
        own=(--no-dashboard --dashboard-address 127.0.0.1:0)
        export DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES='[]' DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'
    fi
    if [ -n "${HEWS_INTERFACE:-}" ]; then own+=(--interface "$HEWS_INTERFACE"); fi
    "${PYTHON[@]}" -m dask scheduler --scheduler-file "$SCHEDULER" --protocol tls --port 0 "${own[@]}" \
        >"$log/scheduler.log" 2>&1 &
    CHILDREN+=($!)
    worker=(worker --nworkers 1 --nthreads "${SLURM_CPUS_PER_TASK:-1}" --protocol tls "${own[@]}")
    if [ "${SLURM_GPUS_ON_NODE:-0}" -gt 0 ]; then
        worker=(cuda worker --protocol tls "${own[@]}")
        export DASK_DATAFRAME__BACKEND=cudf # what `hews prepare` has its workers take
        count=$((SLURM_JOB_NUM_NODES * SLURM_GPUS_ON_NODE))
    fi
    scratch_everywhere
    on_each_node "--cpus-per-task=${SLURM_CPUS_PER_TASK:-1}" --output="$log/worker-%t-%N.log" "${PYTHON[@]}" \
        -m dask "${worker[@]}" --scheduler-file "$SCHEDULER" --local-directory "$TMPDIR" \
        --death-timeout 120 &
    CHILDREN+=($!)
    "${PYTHON[@]}" -m hews_gpu.cluster.dask_workers wait "$SCHEDULER" "$count" || { say "see $log"; return 1; }
}

dask_end() { # let the workers and the scheduler end by themselves; their logs stay
    "${PYTHON[@]}" -m hews_gpu.cluster.dask_workers close "$SCHEDULER"
    wait "${CHILDREN[@]}" || say "a Dask worker ended with code $?; see $OUT/slurm/dask-$SLURM_JOB_ID"
    CHILDREN=()
    rm -rf "$SCHEDULER" "$KEYS"
}
