// The replay: one index into the issue times, and functions that draw the page at it.
//
// Numbers come packed in the element "data" (see pack.py). Names from files are only ever set as text. The state is on
// the element "player": data-index, data-time, data-playing.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const player = at("player"), slider = at("time");
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const whole = (text, Kind) => new Kind(bytes(text).buffer); // little-endian, as every browser's machine is

  // ---- the numbers
  const issue = Array.from(whole(data.issue, Uint32Array), (step) => data.first_s + step);
  const outcome = whole(data.outcome, Uint16Array);
  const NONE = 65535;
  const city = {};
  for (const name of Object.keys(data.city)) {
    city[name] = Array.from(whole(data.city[name], Uint16Array), (p) => (p === NONE ? null : p / (NONE - 1)));
  }
  const areas = data.areas && bytes(data.areas.p);
  const count = data.names.length;
  const chance = new Float64Array(256); // what a byte stands for
  if (areas) for (let b = 1; b < 256; b++) chance[b] = data.areas.low * (data.areas.high / data.areas.low) ** ((b - 1) / 254);
  const happened = {
    time: Array.from(whole(data.incidents.time, Uint32Array), (step) => data.incidents.first_s + step),
    known: Array.from(whole(data.incidents.known, Uint32Array), (step) => data.incidents.first_s + step),
    xy: whole(data.incidents.xy, Uint16Array),
    category: whole(data.incidents.category, Uint16Array),
    target: bytes(data.incidents.target),
    place: whole(data.incidents.place, Uint16Array),
  };
  const [opens, closes] = data.window_s;
  const warnings = data.warnings.given.map(([place, step, came, tier, withheld]) => {
    const from = data.first_s + step;
    return { place, from, begin: from + opens, end: from + closes, came: ["hit", "false_alarm", "open"][came], tier: ["watch", "warning"][tier], withheld };
  });
  const missed = new Set(Array.from(whole(data.warnings.missed, Uint32Array), (step) => data.first_s + step)); // by no warning of the city
  const last = issue.length - 1;
  let now = 0, chosen = -1, printing = false;

  // ---- words
  const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const date = (s) => new Date(s * 1000); // times are local seconds: read as UTC they are what the clock showed
  const clock = (s) => date(s).toISOString().slice(11, 16);
  const day = (s) => `${DAYS[date(s).getUTCDay()]} ${date(s).getUTCDate()} ${MONTHS[date(s).getUTCMonth()]}`;
  const iso = (s) => date(s).toISOString().slice(0, 19);
  function percent(p) {
    if (p === null || p === undefined) return "–";
    const share = 100 * p;
    return `${share.toFixed(share >= 1 ? 1 : share >= 0.1 ? 2 : 3)}\u00a0%`;
  }
  function span(s) {
    const hours = Math.floor(s / 3600), minutes = Math.round((s % 3600) / 60);
    return [hours && `${hours} h`, minutes && `${minutes} min`].filter(Boolean).join(" ") || "0 min";
  }
  const name = (place) => (place < 0 ? "Whole city" : data.names[place]);
  function fill(list, items) { // items: arrays of [text, class]
    list.replaceChildren(...items.map((parts) => {
      const item = document.createElement("li");
      for (const [text, look] of parts) {
        const part = document.createElement(look === "b" ? "b" : "span");
        part.textContent = text;
        if (look && look !== "b") part.className = look;
        item.append(part);
      }
      return item;
    }));
  }

  // ---- colors: the page's own, the light ones while it prints
  const color = (role) => (printing ? data.light[role] : getComputedStyle(document.documentElement).getPropertyValue(`--${role}`).trim());
  let shades = [];
  function mix() {
    const steps = [0, 1, 2, 3, 4, 5, 6].map((step) => color(`ramp${step}`).match(/[0-9a-f]{2}/gi).map((hex) => parseInt(hex, 16)));
    shades = Array.from({ length: 256 }, (_, b) => {
      const x = (6 * Math.max(0, b - 1)) / 254, low = Math.min(5, Math.floor(x));
      return `rgb(${steps[low].map((from, k) => Math.round(from + (x - low) * (steps[low + 1][k] - from)))})`;
    });
    shades[0] = color("land");
  }

  // ---- the timeline
  const LANES = areas ? ["incidents", "city", "areas"] : ["incidents", "city"];
  const LANE = 18, GUTTER = 62;
  const every = [...city.model, ...city.climatology, ...city.level].filter((p) => p !== null);
  const highest = every.reduce((most, p) => Math.max(most, p), 0) || 1; // a spread would overflow the stack
  const lines = data.thresholds.map((p, k) => [p, ["watch", "warning"][k]]).filter(([p]) => p !== null && p < 2 * highest);
  const top = 1.1 * Math.max(highest, ...lines.map(([p]) => p));

  // A long replay is shown two weeks at a time, those that hold the present moment.
  const close = issue[last] + Math.max(closes, data.stride_s), LONG = 31 * 86400, PART = 14 * 86400;
  const part = () => (close - issue[0] > LONG ? Math.floor((issue[now] - issue[0]) / PART) : -1);
  const view = () => (part() < 0 ? [issue[0], close] : [issue[0] + part() * PART, issue[0] + (part() + 1) * PART]);
  let shownPart = -1;

  function moments(plot) { // where the time axis is labelled
    const first = plot.scales.x.min, end = plot.scales.x.max, room = plot.bbox.width / uPlot.pxRatio / 76;
    const step = [1 / 8, 1 / 4, 1 / 2, 1, 2, 3, 7].find((d) => (end - first) / 86400 / d <= room) || 14;
    const marks = [];
    const latest = end - (end - first) * (26 / 76 / room); // a later label would be cut off
    for (let t = Math.ceil(first / 86400 / step) * step * 86400; t <= latest; t += step * 86400) marks.push(t);
    return marks;
  }
  function label(t) {
    return t % 86400 ? clock(t) : day(t);
  }
  function drawLanes(plot) {
    const { ctx, bbox } = plot, px = uPlot.pxRatio;
    const x = (t) => plot.valToPos(t, "x", true);
    const lane = (k) => bbox.top - (LANES.length - k) * LANE * px;
    ctx.save();
    ctx.font = `${11 * px}px ${getComputedStyle(player).fontFamily}`;
    ctx.textBaseline = "middle";
    ctx.textAlign = "right";
    ctx.fillStyle = color("soft");
    LANES.forEach((text, k) => ctx.fillText(text, bbox.left - 8 * px, lane(k) + 8 * px));
    ctx.textAlign = "left";
    for (const [p, tier] of lines) { // thresholds: their names stand on different sides of their lines
      const y = plot.valToPos(p, "y", true);
      ctx.strokeStyle = color("soft");
      ctx.lineWidth = px;
      ctx.setLineDash([2 * px, 3 * px]);
      ctx.strokeRect(bbox.left, y, bbox.width, 0);
      ctx.setLineDash([]);
      ctx.strokeStyle = color("card"); // a halo, as the lines of the forecasts run below
      ctx.lineWidth = 4 * px;
      for (const paint of ["strokeText", "fillText"]) ctx[paint](`${tier} from ${percent(p)}`, bbox.left + 6 * px, y + (tier === "watch" ? 9 : -9) * px);
    }
    ctx.beginPath();
    ctx.rect(bbox.left, 0, bbox.width, bbox.top + bbox.height);
    ctx.clip();
    const [from, until] = view();
    for (const one of warnings) {
      if (one.end <= from || one.begin >= until) continue;
      const left = x(one.begin), width = Math.max(x(one.end) - left, 3 * px), high = (one.tier === "warning" ? 13 : 7) * px;
      const y = lane(one.place < 0 ? 1 : 2) + 15 * px - high;
      ctx.fillStyle = ctx.strokeStyle = color(one.came === "hit" ? "good" : one.came === "open" ? "soft" : "bad");
      ctx.lineWidth = 1.5 * px;
      ctx.strokeRect(left, y, width, high);
      if (one.came === "hit") ctx.fillRect(left, y, width, high);
      if (one.place < 0) {
        ctx.globalAlpha = 0.1;
        ctx.fillRect(left, bbox.top, width, bbox.height);
        ctx.globalAlpha = 1;
      }
    }
    ctx.lineWidth = 1.5 * px;
    for (let e = first(Math.max(from, issue[0] + opens)); e < first(until); e++) {
      if (!happened.target[e]) continue;
      const t = happened.time[e], miss = missed.has(t), y = lane(0) + 3 * px, half = 5 * px;
      ctx.beginPath();
      ctx.moveTo(x(t) - half, y);
      ctx.lineTo(x(t) + half, y);
      ctx.lineTo(x(t), y + 9 * px);
      ctx.closePath();
      ctx.fillStyle = color("ink");
      ctx.strokeStyle = color("bad");
      if (miss) ctx.stroke();
      else ctx.fill();
    }
    ctx.restore();
  }
  function shadeUnissued(plot) { // only where some forecasts were issued: else the verdict says it
    if (!data.outcomes.some(([what]) => what === "issued")) return;
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = color("soft");
    ctx.globalAlpha = 0.18;
    outcome.forEach((what, i) => {
      if (data.outcomes[what][0] === "issued") return;
      const left = plot.valToPos(issue[i], "x", true), right = plot.valToPos(issue[i] + data.stride_s, "x", true);
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
    });
    ctx.restore();
  }
  const line = (role, width, dash) => ({ stroke: () => color(role), width, dash, points: { show: false } });
  const axis = (more) => ({ stroke: () => color("soft"), grid: { stroke: () => color("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif", ...more });
  const mark = document.createElement("div");
  mark.className = "now";
  let chart = null;
  function makeChart() {
    const box = at("chart");
    chart = new uPlot({
      width: box.clientWidth,
      height: 200 + LANES.length * LANE,
      padding: [LANES.length * LANE + 4, 10, 0, 0],
      legend: { show: false },
      cursor: { show: false, drag: { x: false, y: false } },
      tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC"),
      scales: { x: { range: view }, y: { range: () => [0, top] } },
      axes: [
        axis({ splits: moments, values: (_, marks) => marks.map(label), size: 24, gap: 6 }),
        axis({ values: (_, marks) => marks.map((p) => `${+(100 * p).toPrecision(3)} %`), size: GUTTER, gap: 6, space: 36 }),
      ],
      series: [{}, line("climatology", 1.4, [6, 4]), line("model", 2.2), line("ink", 1.2, [6, 2, 1, 2])], // the level may be the model
      hooks: { drawClear: [shadeUnissued], draw: [drawLanes] },
    }, [issue, city.climatology, city.model, city.level], box);
    const over = chart.over;
    over.append(mark);
    const seek = (event) => go(chart.posToIdx(Math.max(0, event.clientX - over.getBoundingClientRect().left)));
    over.addEventListener("pointerdown", (event) => {
      pause();
      over.setPointerCapture(event.pointerId);
      seek(event);
    });
    over.addEventListener("pointermove", (event) => over.hasPointerCapture(event.pointerId) && seek(event));
  }

  // ---- the map
  const canvas = at("map"), pen = canvas.getContext("2d"), probe = document.createElement("canvas").getContext("2d");
  const [wide, tall] = data.map.size;
  const paths = data.map.rings.map((rings) => {
    const path = new Path2D();
    for (const ring of rings) {
      let x = 0, y = 0;
      for (let k = 0; k < ring.length; k += 2) {
        x += ring[k];
        y += ring[k + 1];
        if (k) path.lineTo(x, y);
        else path.moveTo(x, y);
      }
      path.closePath();
    }
    return path;
  });
  function first(moment) { // index of the first incident at or after a moment
    let low = 0, high = happened.time.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (happened.time[middle] < moment) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  const standing = () => warnings.filter((one) => one.from <= issue[now] && issue[now] < one.end);
  function drawMap() {
    const scale = canvas.width / (wide + 40), unit = (px) => (px * (window.devicePixelRatio || 1)) / scale;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.setTransform(scale, 0, 0, scale, 20 * scale, 20 * scale);
    pen.lineJoin = "round";
    pen.lineWidth = unit(0.7);
    pen.strokeStyle = color("card");
    paths.forEach((path, n) => {
      pen.fillStyle = shades[areas ? areas[now * count + n] : 0];
      pen.fill(path);
      pen.stroke(path);
    });
    const outline = (n, role, width) => {
      pen.strokeStyle = color("card");
      pen.lineWidth = unit(width + 2.5);
      pen.stroke(paths[n]);
      pen.strokeStyle = color(role);
      pen.lineWidth = unit(width);
      pen.stroke(paths[n]);
    };
    for (const one of standing()) if (one.place >= 0) outline(one.place, "ink", one.tier === "warning" ? 3 : 1.8);
    if (chosen >= 0) outline(chosen, "link", 3);
    const from = issue[now], begin = first(from - (closes - opens)), end = first(from);
    for (let e = begin; e < end; e++) if (!happened.target[e]) dot(e, from, unit);
    for (let e = begin; e < end; e++) if (happened.target[e]) dot(e, from, unit);
    for (let e = first(from + opens); e < first(from + closes); e++) if (happened.target[e]) cross(e, unit);
  }
  function dot(e, from, unit) { // a ring of the ground's color keeps marks apart from any shade
    const x = happened.xy[2 * e], y = happened.xy[2 * e + 1], r = unit(happened.target[e] ? 7 : 3);
    pen.beginPath();
    if (happened.target[e]) {
      pen.moveTo(x, y - r);
      pen.lineTo(x + r, y + 0.8 * r);
      pen.lineTo(x - r, y + 0.8 * r);
      pen.closePath();
    } else pen.arc(x, y, r, 0, 7);
    const known = happened.known[e] <= from;
    pen.fillStyle = color(known ? "ink" : "card");
    pen.strokeStyle = color(known ? "card" : "ink");
    pen.lineWidth = unit(1.3);
    pen.fill();
    pen.stroke();
  }
  function cross(e, unit) {
    const x = happened.xy[2 * e], y = happened.xy[2 * e + 1], r = unit(6);
    for (const [role, width] of [["card", 5], ["ink", 2.2]]) {
      pen.beginPath();
      pen.moveTo(x - r, y - r);
      pen.lineTo(x + r, y + r);
      pen.moveTo(x + r, y - r);
      pen.lineTo(x - r, y + r);
      pen.strokeStyle = color(role);
      pen.lineWidth = unit(width);
      pen.stroke();
    }
  }
  function fit() { // canvases take the width that there is
    const ratio = (wide + 40) / (tall + 40), width = Math.min(canvas.parentElement.clientWidth - 40, 620 * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${width / ratio}px`;
    canvas.width = Math.round(width * (window.devicePixelRatio || 1));
    canvas.height = Math.round(canvas.width / ratio);
    chart.setSize({ width: printing ? 660 : at("chart").clientWidth, height: (printing ? 130 : 200) + LANES.length * LANE });
    show();
  }

  // ---- the rest of the page at an issue time
  function showRanking(warned) {
    const p = areas.subarray(now * count, (now + 1) * count);
    const order = Array.from(p.keys()).sort((a, b) => p[b] - p[a] || a - b).slice(0, 8);
    at("ranking").replaceChildren(...order.filter((n) => p[n]).map((n) => {
      const row = document.createElement("tr"), head = document.createElement("th");
      head.scope = "row";
      head.textContent = data.names[n];
      row.className = [n === chosen && "chosen", warned.has(n) && "warned"].filter(Boolean).join(" ");
      row.append(head);
      for (const text of [percent(chance[p[n]]), `${(chance[p[n]] / data.areas.usual[n]).toFixed(1)}`]) {
        const cell = document.createElement("td");
        cell.textContent = text;
        row.append(cell);
      }
      return row;
    }));
    const byte = chosen < 0 ? 0 : p[chosen];
    at("picked").textContent = byte ? `${percent(chance[byte])}, ${(chance[byte] / data.areas.usual[chosen]).toFixed(1)} times its mean` : "or point at the map";
  }
  function showIncidents() {
    const from = issue[now], begin = first(from - (closes - opens)), end = first(from), shown = [];
    for (let e = end - 1; e >= begin; e--) shown.push(e);
    const known = shown.filter((e) => happened.known[e] <= from).length;
    at("incidents-title").textContent = `Incidents of the last ${span(closes - opens)}`;
    at("incidents-count").textContent = `${shown.length} in all, ${known} of them reported by ${clock(from)}${data.incidents.left_out}`;
    shown.sort((a, b) => happened.target[b] - happened.target[a] || b - a);
    fill(at("incidents"), shown.slice(0, 6).map((e) => [
      [clock(happened.time[e]), "b"],
      [` ${happened.target[e] ? "▲ " : ""}${data.incidents.categories[happened.category[e]].toLowerCase()}`, happened.target[e] ? "target" : ""],
      [happened.place[e] === NONE ? "" : ` · ${name(happened.place[e])}`, "soft"],
    ]));
  }
  const CAME = { hit: "came true", false_alarm: "did not come true", open: "still open" };
  function show() {
    const from = issue[now], [what, why] = data.outcomes[outcome[now]], warned = standing();
    at("when").textContent = `${day(from)} ${date(from).getUTCFullYear()}, ${clock(from)}`;
    at("window").textContent = `window ${clock(from + opens)} to ${clock(from + closes)}`;
    at("said").textContent = what === "issued" ? "issued" : `${what}${why ? `: ${why}` : ""}`;
    at("said").classList.toggle("unissued", what !== "issued");
    for (const one of ["model", "climatology", "level"]) at(`now-${one}`).textContent = percent(city[one][now]);
    fill(at("standing"), warned.length === 0 ? [[["no warning stands", "soft"]]] : warned.map((one) => [
      [`${one.tier}${one.withheld ? " (withheld)" : ""}`, "b"],
      [` ${name(one.place)}`, ""],
      [`, ${clock(one.begin)} to ${clock(one.end)}; it ${CAME[one.came]}`, ""],
    ]));
    if (areas) showRanking(new Set(warned.map((one) => one.place)));
    showIncidents();
    drawMap();
    if (part() !== shownPart) {
      shownPart = part();
      chart.setScale("x", { min: 0, max: 1 }); // `view` decides
    }
    const [start, end] = view();
    mark.style.left = `${(100 * (from - start)) / (end - start)}%`;
    slider.value = now;
    const sentence = `${at("when").textContent}: city ${percent(city.model[now])}, climatology ${percent(city.climatology[now])}, recent level ${percent(city.level[now])}; ${warned.length} warnings stand; ${at("said").textContent}`;
    slider.setAttribute("aria-valuetext", sentence);
    Object.assign(player.dataset, { index: now, time: iso(from), playing: timer !== null });
    speak(sentence);
  }
  let later = 0;
  function speak(sentence) { // to screen readers, once the moving has stopped
    clearTimeout(later);
    later = setTimeout(() => { if (timer === null) at("spoken").textContent = sentence; }, 500);
  }

  // ---- moving
  let timer = null;
  function go(index) {
    now = Math.max(0, Math.min(last, index));
    show();
  }
  function goTo(moment) { // the last issue time at or before a moment
    let i = 0;
    while (i < last && issue[i + 1] <= moment) i++;
    go(i);
  }
  function pause() {
    clearInterval(timer);
    timer = null;
    player.classList.remove("playing");
    at("play").setAttribute("aria-label", "Play");
    player.dataset.playing = false;
  }
  function play() {
    if (now === last) go(0);
    const pace_ms = matchMedia("(prefers-reduced-motion: reduce)").matches ? 700 : 90;
    timer = setInterval(() => (now === last ? pause() : go(now + 1)), pace_ms);
    player.classList.add("playing");
    at("play").setAttribute("aria-label", "Pause");
    player.dataset.playing = true;
  }
  const toggle = () => (timer === null ? play() : pause());
  const MOVES = { // Home, End and the page keys scroll the page unless the player has the focus
    ArrowLeft: () => go(now - 1), ArrowRight: () => go(now + 1), ArrowDown: () => go(now - 1), ArrowUp: () => go(now + 1),
    Home: () => go(0), End: () => go(last), PageUp: () => goTo(issue[now] + 86400), PageDown: () => goTo(issue[now] - 86400), // as sliders have it
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.target instanceof Element)) return;
    const nowhere = event.target === document.body, mine = player.contains(event.target) && !event.target.closest("select, .table");
    const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (event.key === " " && (event.target === slider || nowhere)) toggle();
    else if (MOVES[event.key] && (mine || (nowhere && sideways))) {
      pause();
      MOVES[event.key]();
    } else return;
    event.preventDefault();
  });
  slider.addEventListener("input", () => { pause(); go(+slider.value); });
  at("play").addEventListener("click", toggle);
  at("before").addEventListener("click", () => { pause(); go(now - 1); });
  at("after").addEventListener("click", () => { pause(); go(now + 1); });

  function choose(place) {
    chosen = place;
    at("pick").value = place;
    show();
  }
  if (areas) {
    const names = Array.from(data.names.keys()).sort((a, b) => data.names[a].localeCompare(data.names[b]));
    at("pick").append(...names.map((n) => new Option(data.names[n], n)));
    at("pick").addEventListener("change", () => choose(+at("pick").value));
    const under = (event) => {
      const box = canvas.getBoundingClientRect(), scale = (wide + 40) / box.width;
      const x = (event.clientX - box.left) * scale - 20, y = (event.clientY - box.top) * scale - 20;
      return paths.findIndex((path) => probe.isPointInPath(path, x, y));
    };
    canvas.addEventListener("pointermove", (event) => {
      const place = event.pointerType === "mouse" ? under(event) : chosen;
      if (place >= 0 && place !== chosen) choose(place);
    });
    canvas.addEventListener("click", (event) => choose(under(event)));
    for (const p of ticks()) {
      const tick = document.createElement("span");
      tick.textContent = `${+(100 * p).toPrecision(1)} %`;
      tick.style.left = `${(100 * Math.log(p / data.areas.low)) / Math.log(data.areas.high / data.areas.low)}%`;
      at("ticks").append(tick);
    }
  }
  function ticks() { // round probabilities, not too near to the ends or to each other
    const { low, high } = data.areas, all = [];
    for (let decade = -9; decade <= 0; decade++) for (const digit of [1, 2, 5]) all.push(digit * 10 ** decade);
    const inside = all.filter((p) => Math.abs(Math.log(p / low) / Math.log(high / low) - 0.5) < 0.44), step = Math.ceil(inside.length / 5);
    return inside.filter((_, k) => k % step === 0);
  }
  for (const row of document.querySelectorAll("tr[data-at]")) { // without scripts these are plain texts
    const head = row.querySelector("th"), button = document.createElement("button");
    button.type = "button";
    button.className = "jump";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      pause();
      goTo(+row.dataset.at);
      player.scrollIntoView();
      slider.focus({ preventScroll: true });
    });
  }

  function recolor() {
    mix();
    chart.redraw();
    show();
  }
  at("ago").textContent = span(closes - opens);
  player.hidden = false;
  makeChart();
  mix();
  fit();
  new ResizeObserver(() => printing || fit()).observe(at("chart"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
  addEventListener("beforeprint", () => { printing = true; mix(); fit(); });
  addEventListener("afterprint", () => { printing = false; mix(); fit(); });
})();
