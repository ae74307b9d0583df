"use strict";
// @ts-check
/* global ELEMENTS */
/**
 * The drawing of a small net or an expression: edges as wide as their numbers, each part a button.
 * @typedef {{id: string, layer: number, kind: string, value: number|null, gradient: number|null, entry: string,
 *   lines: number[]}} NetNode columns are places in the data's columns
 * @typedef {{id: string, from: string, to: string, entry: string, weight: number|null, gradient: number|null,
 *   lines: number[]}} NetEdge
 * @typedef {{forms: Array<[number, number[]]>, which?: number[]}} SharedLine
 * @typedef {{steps: number[], notes: string[], nodes: NetNode[], edges: NetEdge[], lines: SharedLine[],
 *   columns: Array<string|Array<string|null>>, templates: string[], surface: Grid|null,
 *   entries: {weights: Object<string, number>, gradients: Object<string, number>}}} Stepped what stepping_data returned
 */
const NET = (() => {
  const { make, draw } = ELEMENTS;
  const MOST_LABELLED = 26; // edges that have room for their numbers
  const CHARACTER = 7.4; // pixels, of a label's digits
  const LARGEST = 1.25; // of its own size, that a drawing is spread to
  const ALONG = 225, MARGIN = 52; // pixels between two layers, and around them

  /**
   * Return the text of a column at the k-th kept step; null where it has none.
   * @param {Stepped} data
   * @param {number|null|undefined} column
   * @param {number} k
   * @returns {string|null}
   */
  function cellAt(data, column, k) {
    if (column === null || column === undefined) return null;
    const found = data.columns[column];
    return Array.isArray(found) ? found[k] : found;
  }

  /**
   * Return a number as few characters as a drawing has room for.
   * @param {string|null} text
   */
  function short(text) {
    if (text === null || text === undefined) return "";
    const value = Number(text), size = Math.abs(value);
    if (!Number.isFinite(value) || text.length <= 6) return text;
    if (size !== 0 && (size < 0.001 || size >= 1e5)) return value.toExponential(1);
    const found = String(Number(value.toPrecision(4)));
    return found.length > 7 ? String(Number(value.toPrecision(3))) : found;
  }

  /**
   * Return the place of every node, and the size of all; layers go to the right, on a narrow page down.
   * @param {NetNode[]} nodes
   * @param {NetEdge[]} edges
   * @param {boolean} narrow
   */
  function placed(nodes, edges, narrow) {
    /** @type {NetNode[][]} */
    const layers = [];
    for (const node of nodes) (layers[node.layer] ??= []).push(node);
    const most = Math.max(...layers.map((layer) => layer.length));
    const along = narrow ? 160 : ALONG, across = narrow ? 100 : 96, margin = MARGIN;
    const layerOf = new Map(nodes.map((node) => [node.id, node.layer]));
    const skips = edges.some((edge) => layerOf.get(edge.to) > layerOf.get(edge.from) + 1);
    const aside = skips ? 64 : 0; // every other layer, so that an edge over a layer does not run through its node
    const length = margin * 2 + along * (layers.length - 1), breadth = margin * 2 + across * (most - 1) + 6 + aside;
    /** @type {Map<string, number[]>} */
    const places = new Map();
    layers.forEach((layer, k) => layer.forEach((node, j) => {
      const a = margin + along * k;
      const b = breadth / 2 + across * (j - (layer.length - 1) / 2) + ((k % 2) - 0.5) * aside;
      places.set(node.id, narrow ? [b, a] : [a, b]);
    }));
    return { places, size: narrow ? [breadth, length] : [length, breadth] };
  }

  /**
   * Return what an edge or a node is, with its numbers at a step, in a line.
   * @param {Stepped} data
   * @param {Words["stepping"]} words
   * @param {NetNode|NetEdge} one
   * @param {number} k
   */
  function describe(data, words, one, k) {
    /** @type {string[]} */
    const parts = [];
    const add = (/** @type {string} */ label, /** @type {number|null} */ column) => {
      const text = cellAt(data, column, k);
      if (text !== null) parts.push(`${label} ${text}`);
    };
    let where = "";
    if ("from" in one) {
      add(one.entry ? words.weight : words.slope, one.weight);
      where = ` ${words.from} ${one.from.startsWith("1_") ? words.bias : one.from} ${words.to} ${one.to}`;
    } else {
      add(one.entry ? words.value : words.output, one.value);
    }
    add(words.gradient, one.gradient);
    const entry = one.entry && one.entry !== one.id ? ` (${one.entry})` : "";
    return `${one.id}${entry}${where}${parts.length ? `: ${parts.join(", ")}` : ""}`;
  }

  /** One drawing: laid out for a width, then shown at a step. */
  class Drawing {
    /**
     * @param {Stepped} data
     * @param {Words["stepping"]} words
     * @param {function(NetNode|NetEdge): void} choose is told which part was chosen
     */
    constructor(data, words, choose) {
      this.data = data;
      this.words = words;
      this.choose = choose;
      /** @type {"weight"|"gradient"} */
      this.mode = "weight";
      /** @type {boolean|null} */
      this.narrow = null;
      this.box = make("div", { class: "step-net" });
      this.layers = 1 + Math.max(...data.nodes.map((node) => node.layer));
      this.width = 2 * MARGIN + ALONG * (this.layers - 1); // pixels, with the layers to the right
      this.most = { weight: this.largest("weight"), gradient: this.largest("gradient") };
    }

    /**
     * Return the largest size that an edge has at any step.
     * @param {"weight"|"gradient"} mode
     */
    largest(mode) {
      let found = 0;
      for (const edge of this.data.edges) {
        const column = edge[mode] === null ? null : this.data.columns[edge[mode]];
        for (const text of Array.isArray(column) ? column : [column]) {
          const size = Math.abs(Number(text));
          if (Number.isFinite(size) && size > found) found = size;
        }
      }
      return found || 1;
    }

    /** @param {boolean} narrow layers go down the page */
    lay(narrow) {
      this.narrow = narrow;
      const { places, size } = placed(this.data.nodes, this.data.edges, narrow);
      const [width, height] = size, viewBox = `0 0 ${width} ${height}`;
      const svg = draw("svg", { viewBox, role: "group", "aria-label": this.words.net, width, height });
      svg.style.maxWidth = `${Math.round(width * (narrow ? 1 : LARGEST))}px`;
      /** @type {Array<{one: NetNode|NetEdge, group: SVGGElement, line?: SVGLineElement, label?: SVGGElement,
       *   value?: SVGTextElement}>} */
      this.parts = [];
      this.rank = new Map();
      /** @type {number[]} */
      const seen = [];
      for (const node of this.data.nodes) {
        seen[node.layer] ??= 0;
        this.rank.set(node.id, seen[node.layer]);
        seen[node.layer] += 1;
      }
      this.labels = draw("g", { class: "step-labels", "aria-hidden": "true" });
      this.toLoss(svg, places);
      for (const edge of this.data.edges) this.edge(svg, edge, places);
      svg.append(this.labels);
      for (const node of this.data.nodes) this.node(svg, node, places.get(node.id));
      const buttons = this.parts.filter(({ group }) => group.hasAttribute("role")).map(({ group }) => group);
      buttons.forEach((group, k) => group.setAttribute("tabindex", k ? "-1" : "0"));
      svg.addEventListener("keydown", (event) => this.walk(buttons, event));
      this.box.replaceChildren(svg);
    }

    /**
     * Go on to another part by the keys: all of them are one stop of the Tab key.
     * @param {SVGGElement[]} buttons
     * @param {KeyboardEvent} event
     */
    walk(buttons, event) {
      const k = buttons.findIndex((group) => group === document.activeElement);
      const next = { ArrowDown: k + 1, ArrowUp: k - 1 }[event.key];
      if (k < 0 || next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const found = buttons[(next + buttons.length) % buttons.length];
      buttons.forEach((group) => group.setAttribute("tabindex", group === found ? "0" : "-1"));
      found.focus();
    }

    /**
     * Draw the way from the outputs of a net to its loss, which has no weight.
     * @param {SVGSVGElement} svg
     * @param {Map<string, number[]>} places
     */
    toLoss(svg, places) {
      const loss = this.data.nodes.find((node) => node.kind === "loss");
      if (!loss || this.data.edges.some((edge) => edge.to === loss.id)) return;
      const [x2, y2] = places.get(loss.id);
      for (const node of this.data.nodes.filter((one) => one.layer === loss.layer - 1 && one.kind !== "bias")) {
        const [x1, y1] = places.get(node.id);
        svg.append(draw("line", { x1, y1, x2, y2, class: "step-plain" }));
      }
    }

    /**
     * @param {SVGSVGElement} svg
     * @param {NetEdge} edge
     * @param {Map<string, number[]>} places
     */
    edge(svg, edge, places) {
      const [x1, y1] = places.get(edge.from), [x2, y2] = places.get(edge.to), ends = { x1, y1, x2, y2 };
      const group = this.button(svg, "step-edge", edge), line = draw("line", { ...ends, class: "step-line" });
      group.append(draw("line", { ...ends, class: "step-hit" }), line);
      let label;
      if (this.data.edges.length <= MOST_LABELLED) {
        const share = (this.narrow ? [0.32, 0.56, 0.44] : [0.32, 0.66, 0.48])[this.rank.get(edge.to) % 3];
        const at = `translate(${x1 + (x2 - x1) * share} ${y1 + (y2 - y1) * share})`;
        label = draw("g", { class: "step-label", transform: at });
        label.append(draw("rect", { rx: 3 }), draw("text", { y: 4.5 }));
        this.labels.append(label); // above all lines
      }
      this.parts.push({ one: edge, group, line, label });
    }

    /**
     * @param {SVGSVGElement} svg
     * @param {NetNode} node
     * @param {number[]} place
     */
    node(svg, node, [x, y]) {
      const isBias = node.kind === "bias", isSquare = isBias || ["input", "variable"].includes(node.kind);
      const group = isBias ? draw("g", { class: "step-node step-bias" }) : this.button(svg, "step-node", node);
      if (isBias) svg.append(group);
      group.append(isSquare ? draw("rect", { x: x - 30, y: y - 24, width: 60, height: 48, rx: 5 })
        : draw("circle", { cx: x, cy: y, r: 31 }));
      const value = draw("text", { x, y: y + 15, class: "step-value" });
      group.append(draw("text", { x, y: isBias ? y + 5 : y - 3, class: "step-name" }, isBias ? "1" : node.id), value);
      this.parts.push({ one: node, group, value });
    }

    /**
     * @param {SVGSVGElement} svg
     * @param {string} name
     * @param {NetNode|NetEdge} what
     */
    button(svg, name, what) {
      const group = draw("g", { class: name, role: "button", "data-id": what.id, "aria-pressed": "false" });
      group.addEventListener("click", () => this.choose(what));
      group.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        this.choose(what);
      });
      svg.append(group);
      return group;
    }

    /**
     * @param {number} k the place of the step
     * @param {NetNode|NetEdge|null} chosen
     */
    show(k, chosen) {
      for (const { one, group, line, label, value } of this.parts) {
        group.classList.toggle("step-chosen", one === chosen);
        label?.classList.toggle("step-chosen", one === chosen);
        if (!group.hasAttribute("role")) continue;
        group.setAttribute("aria-pressed", String(one === chosen));
        group.setAttribute("aria-label", describe(this.data, this.words, one, k));
        if ("from" in one) this.showEdge(one, line, label, k);
        else value.textContent = short(cellAt(this.data, one.value, k));
      }
    }

    /**
     * @param {NetEdge} edge
     * @param {SVGLineElement} line
     * @param {SVGGElement|undefined} label
     * @param {number} k
     */
    showEdge(edge, line, label, k) {
      const text = cellAt(this.data, edge[this.mode] ?? edge.weight, k), value = Number(text ?? NaN);
      const size = Number.isFinite(value) ? Math.min(1, Math.abs(value) / this.most[this.mode]) : 0;
      line.setAttribute("class", `step-line ${value < 0 ? "step-negative" : "step-positive"}`);
      line.setAttribute("stroke-width", String(1.2 + 6 * size));
      if (!label) return;
      const words = edge.entry ? [edge.id, short(text)] : [short(text)];
      const lines = this.narrow ? words : [words.join(" ")];
      const width = CHARACTER * Math.max(...lines.map((each) => each.length)) + 4, height = 15 * lines.length + 1;
      const box = { x: -width / 2, y: -height / 2, width, height };
      for (const [name, number] of Object.entries(box)) label.firstElementChild.setAttribute(name, String(number));
      label.lastElementChild.replaceChildren(...lines.map((each, j) =>
        draw("tspan", { x: 0, y: 4.5 + 15 * (j - (lines.length - 1) / 2) }, each)));
    }
  }

  return { Drawing, describe, cellAt };
})();
