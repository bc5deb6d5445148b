// Parts of the page that change at each step: each touches only what differs from what it shows.

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function button(text, action) {
  const made = element("button", text);
  made.type = "button";
  made.className = "to-lane";
  made.addEventListener("click", action);
  return made;
}

function svgSource(svg) {
  return "data:image/svg+xml," + encodeURIComponent(svg);
}

/** A card with a title, for lines or for a picture. */
class Card {
  constructor(title) {
    this.title = title;
    this.list = element("ul");
    this.image = element("img");
    this.node = element("article", undefined, element("h3", title), this.list, this.image);
    this.shown = [];
    this.picture = undefined;
  }

  show(lines, form = "lines") {
    const picture = form === "svg" && lines[0]?.startsWith("<svg") ? lines[0] : undefined;
    if (picture !== this.picture) this.#draw(picture);
    this.image.hidden = !picture;
    this.node.hidden = !lines.length;
    this.#write(picture ? [] : lines);
  }

  #draw(svg) {
    this.picture = svg;
    if (!svg) return;
    this.image.src = svgSource(svg);
    this.image.alt = this.title;
    const width = Number(/viewBox="[-\d.]+ [-\d.]+ ([\d.]+)/.exec(svg)?.[1] ?? 0);
    this.image.style.width = width ? `min(100%, ${width}px)` : "";
    this.node.classList.toggle("wide", width > 600);
  }

  #write(lines) {
    lines.forEach((line, n) => {
      if (this.shown[n] === undefined) this.list.append(element("li", line));
      else if (this.shown[n] !== line) this.list.children[n].textContent = line;
    });
    for (let n = this.shown.length; n > lines.length; n--) this.list.lastChild.remove();
    this.shown = lines;
  }
}

/** A table of any length in a scrolling box, of which only the rows in sight, and some around, exist. */
class Rows {
  static height = 26;
  static spare = 20;

  constructor(box, above, body, below) {
    Object.assign(this, { box, above, body, below, count: 0, made: new Map(), top: 0, first: 0, last: -1 });
    box.addEventListener("scroll", () => { this.top = box.scrollTop; this.render(); }, { passive: true });
    new ResizeObserver(() => { this.sight = box.clientHeight; this.render(); }).observe(box);
    this.sight = box.clientHeight;
  }

  fill(count, make) {
    Object.assign(this, { count, make, first: 0, last: -1 });
    this.made.clear();
    this.body.replaceChildren();
    this.box.firstElementChild.setAttribute("aria-rowcount", count + 1);
    this.render();
  }

  /** Mark the rows from `first` to `last`, and scroll to them if they are not in sight. */
  mark(first, last) {
    for (let n = this.first; n <= this.last; n++) this.made.get(n)?.removeAttribute("aria-current");
    Object.assign(this, { first, last });
    const y = Math.max(last, 0) * Rows.height, edge = 2 * Rows.height;
    if (y < this.top + edge || y > this.top + this.sight - 2 * edge) {
      const most = Math.max(0, (this.count + 1) * Rows.height - this.sight);
      this.top = Math.min(most, Math.max(0, y - this.sight / 2));
      this.render();
      this.box.scrollTop = this.top;
    }
    for (let n = first; n <= last; n++) this.made.get(n)?.setAttribute("aria-current", "step");
  }

  render() {
    const page = Rows.spare * Rows.height;
    const from = Math.max(0, Math.floor(this.top / page) - 1) * Rows.spare;
    const to = Math.min(this.count, (Math.ceil((this.top + this.sight) / page) + 1) * Rows.spare);
    for (const [n, row] of this.made) {
      if (n < from || n >= to) { row.remove(); this.made.delete(n); }
    }
    let before = null;
    for (let n = to - 1; n >= from; n--) {
      let row = this.made.get(n);
      if (!row) {
        row = this.make(n);
        row.setAttribute("aria-rowindex", n + 2);
        if (n >= this.first && n <= this.last) row.setAttribute("aria-current", "step");
        this.made.set(n, row);
        this.body.insertBefore(row, before);
      }
      before = row;
    }
    this.above.style.height = `${from * Rows.height}px`;
    this.below.style.height = `${(this.count - to) * Rows.height}px`;
  }
}
