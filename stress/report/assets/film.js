// What the page is told, and what stood at which step: looked up, so the same from wherever one comes.

/** The last place of the ascending `steps` that is not behind `step`; -1 if there is none. */
function standing(steps, step) {
  let low = -1, high = steps.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle; else high = middle;
  }
  return low;
}

function stateAt([steps, states], step) {
  const place = standing(steps, step);
  return place < 0 ? -1 : states[place];
}

/** What a task held, and from when on: ascending steps, and the lines that stood from each. */
function holdings(spans) {
  const steps = [...new Set(spans.flatMap((span) => [span.start, span.end]))].sort((a, b) => a - b);
  let held = [], next = 0;
  const lines = steps.map((step) => {
    while (next < spans.length && spans[next].start <= step) held.push(spans[next++]);
    held = held.filter((span) => step < span.end);
    return held.map((span) => span.how === "waits" ? `waits in ${span.what}` : `holds ${span.what} (${span.how})`);
  });
  return { steps, lines };
}

class Film {
  constructor(told) {
    Object.assign(this, told);
    const text = (number) => told.texts[number];
    const { step, task, kind, what, on, where } = told.steps;
    this.events = step.map((at, n) => ({ step: at, task: told.tasks[task[n]], lane: task[n], kind: text(kind[n]),
      what: text(what[n]), on: text(on[n]), where: text(where[n]) }));
    this.at = step;
    const spans = told.spans.map(([lane, name, how, start, end]) => ({ lane, what: text(name), how: text(how), start, end }));
    this.held = told.tasks.map((_, lane) => holdings(spans.filter((span) => span.lane === lane)));
    this.life = told.tasks.map((_, lane) => told.lives.find(([of]) => of === lane) ?? [lane, 0, told.total]);
    const ops = this.events.filter((event) => event.kind === "op");
    this.switches = ops.filter((event, n) => n > 0 && ops[n - 1].lane !== event.lane).map((event) => event.step);
  }

  lines(state) {
    return state < 0 ? [] : this.states[state].map((number) => this.texts[number]);
  }

  /** What a task holds and waits for, then its stack, innermost frame first. */
  taskAt(lane, step) {
    const { steps, lines } = this.held[lane];
    const held = lines[standing(steps, step)] ?? [];
    const stack = this.lines(stateAt(this.stacks[lane], step)).map((frame) => `in ${frame}`);
    if (held.length || stack.length) return [...held, ...stack];
    const [, born, ended] = this.life[lane];
    return [step < born ? "not begun" : step >= ended ? "ended" : "at its start"];
  }

  /** The operations that took effect at a step. */
  doneAt(step) {
    const done = [];
    for (let n = standing(this.at, step); n >= 0 && this.at[n] === step; n--) done.unshift(this.events[n]);
    return done;
  }
}

/** How an operation is called. */
function called(event) {
  return event.kind === "op" ? `${event.what}(${event.on})`
    : event.kind === "block" ? `waits: ${event.what}(${event.on})` : `${event.what} ${event.on}`;
}
