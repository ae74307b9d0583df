"use strict";
// @ts-check
/** Elements, texts and numbers that all parts of the page are made with. */
const ELEMENTS = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const ROWS = 50; // of a table, shown at once

  /**
   * @template {Element} T
   * @param {T} found
   * @param {Object<string, string|number>} attributes
   * @param {Array<Node|string|null>} inside texts are never read as HTML
   * @returns {T}
   */
  function filled(found, attributes, inside) {
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, String(value));
    found.append(...inside.filter((one) => one !== null));
    return found;
  }

  /**
   * Return an element with attributes and, in it, elements or texts.
   * @template {keyof HTMLElementTagNameMap} K
   * @param {K} tag
   * @param {Object<string, string|number>} attributes
   * @param {...(Node|string|null)} inside
   * @returns {HTMLElementTagNameMap[K]}
   */
  function make(tag, attributes = {}, ...inside) {
    return filled(document.createElement(tag), attributes, inside);
  }

  /**
   * Return an element of SVG.
   * @template {keyof SVGElementTagNameMap} K
   * @param {K} tag
   * @param {Object<string, string|number>} attributes
   * @param {...(Node|string|null)} inside
   * @returns {SVGElementTagNameMap[K]}
   */
  function draw(tag, attributes = {}, ...inside) {
    return filled(document.createElementNS(NS, tag), attributes, inside);
  }

  /**
   * Return a sentence with its {names} filled in.
   * @param {string} text
   * @param {Object<string, string|number>} values
   */
  function fill(text, values) {
    return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
  }

  /**
   * Return a whole number with commas.
   * @param {number|string} number
   */
  function count(number) {
    return Number(number).toLocaleString("en");
  }

  /**
   * Return a number in few characters.
   * @param {number} value
   * @param {number} digits
   */
  function brief(value, digits = 4) {
    const size = Math.abs(value);
    if (size === 0 || (size >= 1e-3 && size < 1e5)) return String(Number(value.toPrecision(digits)));
    return value.toExponential(Math.min(2, digits - 1)).replace(/\.?0*e\+?/, "e");
  }

  /**
   * Return round numbers from low to high: 1, 2 or 5 times a power of ten apart.
   * @param {number} low
   * @param {number} high
   * @param {number} most how many at most
   * @returns {number[]}
   */
  function roundNumbers(low, high, most) {
    if (!(high > low)) return [low];
    const least = (high - low) / Math.max(1, most - 1), power = 10 ** Math.floor(Math.log10(least));
    const apart = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= least * (1 - 1e-9)) || 10 * power;
    const found = [];
    for (let k = Math.ceil(low / apart - 1e-9); k * apart <= high + apart * 1e-9; k += 1) {
      found.push(Number((k * apart).toPrecision(12)));
    }
    return found;
  }

  /**
   * Return where in sorted numbers the last one stands that is not above a value; -1 where none is.
   * @param {number[]} sorted
   * @param {number} value
   */
  function lastAt(sorted, value) {
    let low = 0, high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] <= value) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  /**
   * Return where in sorted numbers the one stands that is nearest to a value, of two the lower.
   * @param {number[]} sorted
   * @param {number} value
   */
  function nearest(sorted, value) {
    const k = Math.max(0, lastAt(sorted, value));
    return k + 1 < sorted.length && sorted[k + 1] - value < value - sorted[k] ? k + 1 : k;
  }

  /**
   * Return a named box that scrolls by itself, which the keys can do only where it can have the focus.
   * @param {string} title
   * @param {string} kind its classes
   * @param {...Node} inside
   */
  function scrollBox(title, kind, ...inside) {
    return make("div", { class: kind, tabindex: "0", role: "region", "aria-label": title }, ...inside);
  }

  /**
   * Return the buttons that turn the pages of a table, and what turns to the page of a row.
   * @param {number} length rows in all
   * @param {Words} words
   * @param {function(number, number): void} show draws the rows from one up to another
   * @param {function(number): void} turned is told the first row that a button has turned to
   */
  function pager(length, words, show, turned = () => {}) {
    const back = make("button", { type: "button" }, words.previous);
    const on = make("button", { type: "button" }, words.next);
    const told = make("span", { role: "status" });
    let first = 0;
    /** @param {number} row */
    function to(row) {
      first = Math.max(0, Math.min(row, length - 1));
      first -= first % ROWS;
      const end = Math.min(first + ROWS, length), from = count(length ? first + 1 : 0);
      show(first, end);
      told.textContent = `${words.rows} ${from}–${count(end)} ${words.of} ${count(length)}`;
      back.disabled = first === 0;
      on.disabled = end === length;
    }
    for (const [button, by] of /** @type {Array<[HTMLElement, number]>} */ ([[back, -ROWS], [on, ROWS]])) {
      button.addEventListener("click", () => { to(first + by); turned(first); });
    }
    const isNeeded = length > ROWS;
    return { element: make("div", { class: "slider pager" }, back, on, told), isNeeded, to, again: () => to(first) };
  }

  /**
   * Tell what is damaged of a record.
   * @param {HTMLElement} root
   * @param {string[]} problems
   * @param {Words} words
   */
  function tellProblems(root, problems, words) {
    if (problems.length) root.append(make("h3", {}, words.problems));
    root.append(...problems.map((each) => make("p", { class: "problem" }, each)));
  }

  /** Return how much larger than usual the reader has set letters: charts and pictures go along. */
  function scale() {
    return (parseFloat(getComputedStyle(document.documentElement).fontSize) || 16) / 16;
  }

  /**
   * Say whether keys of the page, arrows and space, mean something else to what has the focus.
   * @param {KeyboardEvent} event
   */
  function isTaken(event) {
    const target = /** @type {Element} */ (event.target), isSpace = event.key === " ";
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return true;
    const pressed = isSpace ? ", button, a, [role=button]" : "";
    return target.closest(`input, select, textarea, summary, [role=region]${pressed}`) !== null;
  }

  return {
    make, draw, fill, count, brief, roundNumbers, lastAt, nearest, scrollBox, pager, tellProblems, scale, isTaken,
  };
})();
