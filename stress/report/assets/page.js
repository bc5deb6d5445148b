const byId = (id) => document.getElementById(id);
const sources = [...document.querySelectorAll("script.film")];
const films = new Map();
const DENSE = 2000;  // operations from which on the lanes are pixels, which costs less than an element each
const LEGEND = 180;  // pixels of a lock in the legend
let turns = 0;  // of drawing the lanes: the last one stands
let film, at, view, origin, scale, taskCards, worldCards;
const rows = new Rows(byId("scroll"), byId("above"), byId("rows"), byId("below"));

function showHere() {
  if (!view) return;
  const x = scale(at), here = byId("here");
  const seen = x >= 0 && x <= view.width();
  if (here.hidden === seen) here.hidden = !seen;
  if (seen) here.style.transform = `translateX(${origin + x}px)`;
}

function measure() {
  scale = view.scale("x");
  const [left, top] = view.origin();
  origin = left;
  byId("here").style.height = `${top + view.height()}px`;
  showHere();
}

function goTo(step) {
  go(step);
  byId("chart").scrollIntoView({ block: "start" });
}

function go(step) {
  at = Math.max(0, Math.min(film.total, step));
  const done = film.doneAt(at);
  const last = standing(film.at, at);
  rows.mark(done.length ? last - done.length + 1 : last, last);
  byId("step").value = at;
  byId("at").textContent = `${at} of ${film.total}`;
  byId("doing").textContent = done.map((event) => `${event.task}: ${called(event)} at ${event.where}`).join("; ");
  showHere();
  const doing = new Set(done.map((event) => event.lane));
  taskCards.forEach((card, lane) => {
    card.show(film.taskAt(lane, at));
    card.node.classList.toggle("doing", doing.has(lane));
  });
  worldCards.forEach((card, n) => card.show(film.lines(stateAt(film.world[n].marks, at)), film.world[n].form));
}

function nextSwitch(direction) {
  const found = direction > 0 ? film.switches.find((s) => s > at) : film.switches.findLast((s) => s < at);
  go(found ?? (direction > 0 ? film.total : 0));
}

function ticks() {
  const lines = film.chart.usermeta.lines;
  return film.events.filter((event) => event.kind === "op").map((event) => ({ task: event.task, operation: called(event),
    at: event.step, where: event.where, start: event.step, lane: lines[event.lane] }));
}

function themed(spec) {
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink");
  const inks = { axis: { labelColor: ink, titleColor: ink, domainColor: ink, tickColor: ink },
    legend: { labelColor: ink, titleColor: ink }, text: { color: ink } };
  const config = { ...spec.config };
  inks.legend.columns = Math.max(1, Math.floor(byId("chart").clientWidth / LEGEND));
  for (const [name, value] of Object.entries(inks)) config[name] = { ...config[name], ...value };
  return { ...spec, config };
}

async function drawChart() {
  if (!window.vegaEmbed) return;
  const turn = ++turns;
  const renderer = film.total > DENSE ? "canvas" : "svg";
  const spec = { ...themed(film.chart), datasets: { ticks: ticks() } };
  view?.finalize();
  view = undefined;
  const result = await window.vegaEmbed("#chart", spec, { actions: false, renderer });
  if (turn !== turns) return result.finalize();
  view = result.view;
  view.addEventListener("click", (event) => {
    const x = event.clientX - byId("chart").querySelector("svg, canvas").getBoundingClientRect().left - origin;
    go(Math.round(scale.invert(x)));
  });
  for (const name of ["zoom_x", "width"]) {
    try { view.addSignalListener(name, () => requestAnimationFrame(measure)); } catch { /* no such signal here */ }
  }
  measure();
  performance.mark("lanes");
}

/** The operations that matter, and the one that failed, each in the column of its task. */
function showStory() {
  const { task, step } = film.failed;
  const moments = film.moments.filter((moment) => moment.step !== step);
  const last = film.doneAt(step).findLast((event) => event.task === task && event.kind === "op");
  moments.push({ step, task, what: last ? called(last) : "", where: last?.where ?? "", fails: true });
  const columns = film.tasks.filter((name) => moments.some((moment) => moment.task === name));
  byId("story").style.setProperty("--columns", columns.length);
  byId("story").replaceChildren(...moments.map((moment) => {
    const item = element("li", undefined, button(String(moment.step), () => goTo(moment.step)),
      element("b", moment.task), element("code", moment.what), element("span", moment.where));
    item.style.setProperty("--column", columns.indexOf(moment.task));
    if (moment.fails) {
      item.className = "fails";
      item.append(element("strong", "fails here"));
    }
    return item;
  }));
  byId("lead").textContent = film.pairs.length
    ? "The operations whose order makes it fail, in the order of this execution, a column for each task. In another order of these it does not fail."
    : "No order of two operations was found to matter: it fails here.";
}

function makeRow(n) {
  const event = film.events[n];
  const row = element("tr", undefined, ...[event.step, event.task, called(event), event.where].map((text) => element("td", String(text))));
  row.dataset.step = event.step;
  row.classList.toggle("matters", event.kind === "op" && film.marked.has(event.step));
  row.addEventListener("click", () => go(event.step));
  return row;
}

function showFilm(number) {
  if (!films.has(number)) films.set(number, new Film(JSON.parse(sources[number].textContent)));
  film = films.get(number);
  film.marked = new Set(film.moments.map((moment) => moment.step));
  byId("name").textContent = `${film.name}: ${film.kind}`;
  byId("headline").textContent = `${film.headline}, in task ${film.failed.task} at operation ${film.failed.step}`;
  byId("detail").textContent = film.detail;
  byId("detail").hidden = !film.detail;
  byId("schedule").textContent = film.schedule;
  byId("step").max = film.total;
  taskCards = film.tasks.map((task) => new Card(task));
  byId("tasks").replaceChildren(...taskCards.map((card) => card.node));
  worldCards = film.world.map((section) => new Card(section.title));
  byId("world").replaceChildren(...worldCards.map((card) => card.node));
  showStory();
  rows.fill(film.events.length, makeRow);
  byId("matter").hidden = !film.pairs.length;
  byId("pairs").replaceChildren(...film.pairs.map((pair) => element("li", pair.text + " ",
    ...pair.steps.map((step) => button(`operation ${step}`, () => goTo(step))))));
  byId("locks").hidden = !film.lockGraph;
  byId("graph").src = svgSource(film.lockGraph);
  byId("lockdep").hidden = !film.reports.length;
  byId("reports").replaceChildren(...film.reports.map((text) => element("div", undefined, element("pre", text),
    button(`operation ${film.failed.step}, in the lanes`, () => goTo(film.failed.step)))));
  go(film.failed.step);
  performance.mark("shown");
  drawChart();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  if (film) drawChart();
}

/** The library is large: it is read after the page has been painted. */
function loadLibrary() {
  addEventListener("library", drawChart, { once: true });
  const script = element("script", byId("library").textContent);
  script.type = "module";
  document.head.append(script);
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
byId("which").addEventListener("change", (event) => showFilm(Number(event.target.value)));
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
showFilm(0);
requestAnimationFrame(() => setTimeout(loadLibrary));
