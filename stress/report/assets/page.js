const films = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
let film, at, view, rows, switches, current, shownWorld;

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function standing(marks, step) {
  let low = -1, high = marks.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (marks[middle][0] <= step) low = middle; else high = middle;
  }
  return low < 0 ? undefined : marks[low][1];
}

function list(lines) {
  return element("ul", undefined, ...lines.map((line) => element("li", line)));
}

function picture(svg, alt) {
  const image = element("img");
  image.src = "data:image/svg+xml," + encodeURIComponent(svg);
  image.alt = alt;
  const box = /viewBox="[-\d.]+ [-\d.]+ ([\d.]+)/.exec(svg);
  if (box) image.style.width = `min(100%, ${box[1]}px)`;
  return image;
}

function card(title, ...children) {
  return element("article", undefined, element("h3", title), ...children);
}

function showTasks() {
  const stacks = film.stacks[standing(film.stacksAt, at)] ?? {};
  byId("tasks").replaceChildren(...film.tasks.map((task) => {
    const spans = film.spans.filter((s) => s.task === task && s.start <= at && at < s.end);
    const held = spans.map((s) => s.how === "waits" ? `waits in ${s.what}` : `holds ${s.what} (${s.how})`);
    const stack = (stacks[task] ?? []).map((frame) => `in ${frame}`);
    const lines = [...held, ...stack];
    return card(task, list(lines.length ? lines : ["not begun, or ended"]));
  }));
}

function showWorld() {
  const standingNow = standing(film.worldAt, at);
  if (standingNow === shownWorld) return;
  shownWorld = standingNow;
  const world = (film.worlds[standingNow] ?? []).map((number) => film.sections[number]);
  byId("world").replaceChildren(...world.filter(([, , lines]) => lines.length).map(([title, form, lines]) => {
    const isPicture = form === "svg" && lines[0].startsWith("<svg");
    const made = card(title, isPicture ? picture(lines[0], title) : list(lines));
    made.classList.toggle("wide", isPicture);
    return made;
  }));
}

function showRow() {
  let low = -1, high = rows.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (film.steps[middle].step <= at) low = middle; else high = middle;
  }
  current?.removeAttribute("aria-current");
  current = rows[low];
  if (!current) return;
  current.setAttribute("aria-current", "step");
  const box = byId("scroll");
  box.scrollTop = current.offsetTop - box.clientHeight / 2;
}

function showHere() {
  if (!view) return;
  const x = view.scale("x")(at);
  const here = byId("here");
  here.hidden = !(x >= 0 && x <= view.width());
  here.style.left = `${view.origin()[0] + x}px`;
}

function toLane(step, text) {
  const made = element("button", text);
  made.type = "button";
  made.className = "to-lane";
  made.addEventListener("click", () => {
    go(step);
    byId("chart").scrollIntoView({ block: "start" });
  });
  return made;
}

function go(step) {
  at = Math.max(0, Math.min(film.total, step));
  byId("step").value = at;
  byId("at").textContent = `${at} of ${film.total}`;
  showHere();
  showTasks();
  showWorld();
  showRow();
  const last = rows.indexOf(current);
  const done = film.steps.slice(Math.max(0, last - 8), last + 1).filter((s) => s.step === at);
  byId("doing").textContent = done.map((s) => `${s.task}: ${s.what} ${s.on}`).join("; ");
}

function nextSwitch(direction) {
  const found = direction > 0 ? switches.find((s) => s > at) : switches.findLast((s) => s < at);
  go(found ?? (direction > 0 ? film.total : 0));
}

async function drawChart() {
  const dark = document.documentElement.dataset.theme === "dark";
  const ink = dark ? "#ececec" : "#1b1b1b";
  const config = { axis: { labelColor: ink, titleColor: ink, domainColor: ink, tickColor: ink },
    legend: { labelColor: ink, titleColor: ink }, text: { color: ink } };
  const spec = { ...film.chart, config: { ...film.chart.config, ...config, legend: { ...film.chart.config.legend, ...config.legend } } };
  const result = await window.vegaEmbed("#chart", spec, { actions: false, renderer: "svg" });
  view = result.view;
  view.addEventListener("click", (event) => {
    const x = event.clientX - byId("chart").querySelector("svg").getBoundingClientRect().left - view.origin()[0];
    go(Math.round(view.scale("x").invert(x)));
  });
  for (const name of ["zoom_x", "width"]) {
    try { view.addSignalListener(name, () => requestAnimationFrame(showHere)); } catch { /* no such signal here */ }
  }
  showHere();
}

function showFilm(number) {
  film = films[number];
  byId("name").textContent = `${film.name}: ${film.kind}`;
  byId("headline").textContent = `${film.headline}, in task ${film.failed.task} at operation ${film.failed.step}`;
  byId("detail").textContent = film.detail;
  byId("detail").hidden = !film.detail;
  byId("schedule").textContent = film.schedule;
  byId("step").max = film.total;
  const marked = new Set(film.pairs.flatMap((pair) => pair.steps));
  const ops = film.steps.filter((s) => s.kind === "op");
  switches = ops.filter((s, n) => n > 0 && ops[n - 1].task !== s.task).map((s) => s.step);
  current = shownWorld = undefined;
  rows = film.steps.map((s) => {
    const what = s.kind === "block" ? `waits: ${s.what} ${s.on}` : `${s.what} ${s.on}`;
    const row = element("tr", undefined, ...[s.step, s.task, what, s.where].map((text) => element("td", String(text))));
    row.dataset.step = s.step;
    row.classList.toggle("matters", s.kind === "op" && marked.has(s.step));
    row.addEventListener("click", () => go(s.step));
    return row;
  });
  byId("rows").replaceChildren(...rows);
  byId("matter").hidden = !film.pairs.length;
  byId("pairs").replaceChildren(...film.pairs.map((pair) => element("li", pair.text + " ",
    ...pair.steps.map((step) => toLane(step, `operation ${step}`)))));
  byId("locks").hidden = !film.lockGraph;
  byId("graph").src = "data:image/svg+xml," + encodeURIComponent(film.lockGraph);
  byId("lockdep").hidden = !film.reports.length;
  byId("reports").replaceChildren(...film.reports.map((text) => element("div", undefined, element("pre", text),
    toLane(film.failed.step, `operation ${film.failed.step}, in the lanes`))));
  at = film.failed.step;
  drawChart();
  go(at);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  if (film) drawChart();
}

const moves = { ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), ArrowUp: () => nextSwitch(-1),
  ArrowDown: () => nextSwitch(1), Home: () => go(0), End: () => go(film.total),
  t: () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark") };

addEventListener("keydown", (event) => {
  const move = moves[event.key];
  const inside = event.target.closest?.("select, .scroll");
  if (!move || inside || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  move();
});
byId("step").addEventListener("input", (event) => go(Number(event.target.value)));
byId("first").addEventListener("click", moves.Home);
byId("back").addEventListener("click", moves.ArrowLeft);
byId("on").addEventListener("click", moves.ArrowRight);
byId("last").addEventListener("click", moves.End);
byId("theme").addEventListener("click", moves.t);
byId("copy").addEventListener("click", () => navigator.clipboard?.writeText(film.schedule));
byId("which").append(...films.map((one, n) => {
  const option = element("option", `${one.name}: ${one.headline}`.slice(0, 100));
  option.value = n;
  return option;
}));
byId("which").addEventListener("change", (event) => showFilm(Number(event.target.value)));
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
showFilm(0);
