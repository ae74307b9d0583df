"use strict";
// @ts-check
/** Elements, texts and numbers that all parts of the page are made with. */
const ELEMENTS = (() => {
  const NS = "http://www.w3.org/2000/svg";

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

  return { make, draw, fill, count, brief, roundNumbers, scale, isTaken };
})();
