"use strict";
// @ts-check
// The step-through of a small model: its net or expression as a drawing, a slider over the steps, the derivation of
// what is chosen, and the point on the surface of the loss. Data: gdcli/commands/report/stepping.py.
const STEPPING = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const MARK = "¤"; // in a template, for a number
  const PLAY_MS = 250; // between two steps
  const LABELS = {
    en: {
      title: "Step through", first: "First step", back: "One step back", play: "Play", pause: "Pause",
      forward: "One step forward", last: "Last step", slider: "Step", of: "of", draw: "Edges show",
      weight: "weight", gradient: "gradient", value: "value", output: "output", net: "The model at this step",
      choose: "Choose an edge or a neuron to see its derivation.", derivation: "Derivation", entry: "parameter",
      table: "Weights and gradients of this step", from: "from", to: "to", none: "no derivation at this step",
      legend: "Solid edge: positive; dashed: negative. The wider, the larger.", bias: "bias",
      keys: "Keys: ← and → one step, Home and End, space plays.", slope: "derivative",
      surface: "The loss over both; dark is low", path: "the way so far",
    },
    zh: {
      title: "逐步查看", first: "第一步", back: "后退一步", play: "播放", pause: "暂停",
      forward: "前进一步", last: "最后一步", slider: "步", of: "/", draw: "连线表示",
      weight: "权重", gradient: "梯度", value: "值", output: "输出", net: "该步的模型",
      choose: "选择一条连线或一个神经元，查看其推导。", derivation: "推导", entry: "参数",
      table: "该步的权重和梯度", from: "从", to: "到", none: "该步没有推导",
      legend: "实线为正，虚线为负；线越粗，数值越大。", bias: "偏置",
      keys: "按键：← 和 → 移动一步，Home 和 End，空格播放。", slope: "导数",
      surface: "两个参数上的损失；颜色越深越低", path: "已走过的路径",
    },
  };

  /** Return the text of a column at the k-th kept step; null where it has none. */
  function cellAt(data, column, k) {
    if (column === null || column === undefined) return null;
    const found = data.columns[column];
    return Array.isArray(found) ? found[k] : found;
  }

  /** Return a text of the k-th kept step from its template and columns; null where it has none. */
  function textAt(data, line, k) {
    const form = line.which ? line.which[k] : 0;
    if (form < 0 || !line.forms.length) return null;
    const [template, columns] = line.forms[form];
    const [first, ...parts] = data.templates[template].split(MARK);
    return first + parts.map((part, j) => cellAt(data, columns[j], k) + part).join("");
  }

  /** Return an element with attributes, and texts or elements in it. */
  function make(tag, attributes = {}, ...inside) {
    const found = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    found.append(...inside);
    return found;
  }

  function draw(tag, attributes = {}, text = null) {
    const found = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    if (text !== null) found.textContent = text;
    return found;
  }

  /** Return a number as few characters as a drawing has room for. */
  function short(text) {
    if (text === null || text === undefined) return "";
    const value = Number(text);
    if (!Number.isFinite(value)) return text;
    if (text.length <= 6) return text;
    const size = Math.abs(value);
    return size !== 0 && (size < 0.001 || size >= 1e5) ? value.toExponential(1) : String(Number(value.toPrecision(4)));
  }

  /** Return the place of the kept step that is nearest to a step. */
  function nearest(steps, step) {
    let low = 0, high = steps.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] < step) low = middle + 1; else high = middle;
    }
    return low > 0 && step - steps[low - 1] < steps[low] - step ? low - 1 : low;
  }

  // --- the drawing ---------------------------------------------------------------------------------------------------

  /** Return the place of every node, and the size of all; layers go to the right, on a narrow page down. */
  function placed(nodes, edges, narrow) {
    const layers = [];
    for (const node of nodes) (layers[node.layer] ??= []).push(node);
    const most = Math.max(...layers.map((layer) => layer.length));
    const along = narrow ? 160 : 225, across = narrow ? 100 : 96, margin = 52;
    const layerOf = new Map(nodes.map((node) => [node.id, node.layer]));
    const skips = edges.some((edge) => layerOf.get(edge.to) > layerOf.get(edge.from) + 1);
    const aside = skips ? 64 : 0; // every other layer, so that an edge over a layer does not run through its node
    const length = margin * 2 + along * (layers.length - 1), breadth = margin * 2 + across * (most - 1) + 6 + aside;
    const places = new Map();
    layers.forEach((layer, k) => layer.forEach((node, j) => {
      const a = margin + along * k, b = breadth / 2 + across * (j - (layer.length - 1) / 2) + (k % 2 - 0.5) * aside;
      places.set(node.id, narrow ? [b, a] : [a, b]);
    }));
    return { places, size: narrow ? [breadth, length] : [length, breadth] };
  }

  class Drawing {
    constructor(data, words, choose) {
      this.data = data; this.words = words; this.choose = choose; this.mode = "weight";
      this.box = make("div", { class: "step-net" });
      this.most = { weight: this.largest("weight"), gradient: this.largest("gradient") };
    }

    /** Return the largest size that an edge has at any step. */
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

    lay(narrow) {
      this.narrow = narrow;
      const { places, size } = placed(this.data.nodes, this.data.edges, narrow);
      const svg = draw("svg", {
        viewBox: `0 0 ${size[0]} ${size[1]}`, role: "group", "aria-label": this.words.net, width: size[0], height: size[1],
      });
      this.parts = []; this.rank = new Map();
      const seen = [];
      for (const node of this.data.nodes) { seen[node.layer] ??= 0; this.rank.set(node.id, seen[node.layer]++); }
      this.labels = draw("g", { class: "step-labels", "aria-hidden": "true" });
      const labelled = this.data.edges.length <= 26;
      this.toLoss(svg, places);
      this.data.edges.forEach((edge) => this.edge(svg, edge, places, labelled));
      svg.append(this.labels);
      this.data.nodes.forEach((node) => this.node(svg, node, places.get(node.id)));
      this.box.replaceChildren(svg);
    }

    /** Draw the way from the outputs of a net to its loss, which has no weight. */
    toLoss(svg, places) {
      const loss = this.data.nodes.find((node) => node.kind === "loss");
      if (!loss || this.data.edges.some((edge) => edge.to === loss.id)) return;
      const [x2, y2] = places.get(loss.id);
      for (const node of this.data.nodes.filter((one) => one.layer === loss.layer - 1 && one.kind !== "bias")) {
        const [x1, y1] = places.get(node.id);
        svg.append(draw("line", { x1, y1, x2, y2, class: "step-plain" }));
      }
    }

    edge(svg, edge, places, labelled) {
      const [x1, y1] = places.get(edge.from), [x2, y2] = places.get(edge.to);
      const group = this.button(svg, `step-edge`, edge);
      const ends = { x1, y1, x2, y2 };
      const line = draw("line", { ...ends, class: "step-line" });
      group.append(draw("line", { ...ends, class: "step-hit" }), line);
      let label = null;
      if (labelled) {
        const share = (this.narrow ? [0.32, 0.56, 0.44] : [0.32, 0.66, 0.48])[this.rank.get(edge.to) % 3];
        const [x, y] = [x1 + (x2 - x1) * share, y1 + (y2 - y1) * share + 4];
        label = draw("text", { x, y, class: "step-label" });
        if (this.narrow && edge.entry) label.append(draw("tspan", { x, dy: -7 }, edge.id), draw("tspan", { x, dy: 14 }));
        this.labels.append(label); // above all lines
      }
      this.parts.push({ edge, group, line, label });
    }

    node(svg, node, [x, y]) {
      const group = node.kind === "bias" ? draw("g", { class: "step-node step-bias" }) : this.button(svg, "step-node", node);
      if (node.kind === "bias") svg.append(group);
      const square = ["input", "variable", "bias"].includes(node.kind);
      group.append(square ? draw("rect", { x: x - 30, y: y - 24, width: 60, height: 48, rx: 5 })
        : draw("circle", { cx: x, cy: y, r: 31 }));
      const name = node.kind === "bias" ? "1" : node.id, value = draw("text", { x, y: y + 15, class: "step-value" });
      group.append(draw("text", { x, y: node.kind === "bias" ? y + 5 : y - 3, class: "step-name" }, name), value);
      this.parts.push({ node, group, value });
    }

    button(svg, name, what) {
      const group = draw("g", { class: name, role: "button", tabindex: "0", "data-id": what.id, "aria-pressed": "false" });
      group.addEventListener("click", () => this.choose(what));
      group.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault(); event.stopPropagation();
        this.choose(what);
      });
      svg.append(group);
      return group;
    }

    show(k, chosen) {
      const { data, words, mode } = this;
      for (const part of this.parts) {
        const one = part.edge ?? part.node;
        for (const each of [part.group, part.label]) each?.classList.toggle("step-chosen", one === chosen);
        if (part.group.hasAttribute("role")) part.group.setAttribute("aria-pressed", String(one === chosen));
        if (part.edge) {
          const text = cellAt(data, one[mode] ?? one.weight, k), value = Number(text ?? NaN);
          part.line.setAttribute("class", `step-line ${value < 0 ? "step-negative" : "step-positive"}`);
          const size = Number.isFinite(value) ? Math.min(1, Math.abs(value) / this.most[mode]) : 0;
          part.line.setAttribute("stroke-width", String(1.2 + 6 * size));
          if (part.label?.lastElementChild) part.label.lastElementChild.textContent = short(text);
          else if (part.label) part.label.textContent = `${one.entry ? `${one.id} ` : ""}${short(text)}`;
          part.group.setAttribute("aria-label", describe(data, words, one, k));
        } else if (one.kind !== "bias") {
          const text = cellAt(data, one.value, k);
          part.value.textContent = short(text);
          part.group.setAttribute("aria-label", describe(data, words, one, k));
        }
      }
    }
  }

  /** Return what an edge or a node is, with its numbers at a step, in a line. */
  function describe(data, words, one, k) {
    const parts = [];
    const add = (label, column) => {
      const text = cellAt(data, column, k);
      if (text !== null) parts.push(`${label} ${text}`);
    };
    const isEdge = "from" in one;
    if (isEdge) add(one.entry ? words.weight : words.slope, one.weight); else add(one.entry ? words.value : words.output, one.value);
    add(words.gradient, one.gradient);
    const start = isEdge && one.from.startsWith("1_") ? words.bias : one.from;
    const where = isEdge ? ` ${words.from} ${start} ${words.to} ${one.to}` : "";
    const entry = one.entry && one.entry !== one.id ? ` (${one.entry})` : "";
    return `${one.id}${entry}${where}${parts.length ? `: ${parts.join(", ")}` : ""}`;
  }

  // --- the surface ---------------------------------------------------------------------------------------------------

  class Surface {
    constructor(data, words) {
      this.data = data; this.words = words; this.surface = data.surface;
      const { x, y, names } = this.surface, size = 400;
      this.size = size;
      this.canvas = make("canvas", { width: size, height: size, class: "step-canvas", "aria-hidden": "true" });
      this.over = draw("svg", { viewBox: `0 0 ${size} ${size}`, class: "step-over", role: "img" });
      this.way = draw("polyline", { class: "step-way", fill: "none" });
      this.halo = draw("circle", { r: 9, class: "step-halo" });
      this.point = draw("circle", { r: 5, class: "step-point" });
      this.over.append(this.way, this.halo, this.point);
      const ends = (axis) => `${short(String(axis[0]))} … ${short(String(axis[axis.length - 1]))}`;
      this.box = make("figure", { class: "step-surface" },
        make("div", { class: "step-square" }, this.canvas, this.over),
        make("figcaption", {}, `${words.surface}. → ${names[0]}: ${ends(x)}; ↑ ${names[1]}: ${ends(y)}`));
      this.columns = names.map((name) => data.entries.weights[name]);
      this.places = data.steps.map((_, k) => this.at(k));
      this.paint();
    }

    at(k) {
      const { x, y } = this.surface, [a, b] = this.columns.map((column) => Number(cellAt(this.data, column, k)));
      const share = (value, axis) => (value - axis[0]) / (axis[axis.length - 1] - axis[0]);
      const clip = (value) => Math.max(0, Math.min(1, Number.isFinite(value) ? value : 0));
      return [clip(share(a, x)) * this.size, (1 - clip(share(b, y))) * this.size];
    }

    /** Paint the loss by its rank among all places, in lightness alone, with lines of equal loss. */
    paint() {
      const { loss } = this.surface, n = loss.length, m = loss[0].length, { size } = this;
      const every = loss.flat().filter((value) => value !== null).sort((a, b) => a - b);
      const context = this.canvas.getContext("2d");
      if (!context || !every.length) return;
      const rank = (value) => {
        let low = 0, high = every.length;
        while (low < high) { const middle = (low + high) >> 1; if (every[middle] < value) low = middle + 1; else high = middle; }
        return low / every.length;
      };
      const ranks = loss.map((row) => row.map((value) => (value === null ? 1 : rank(value))));
      for (let i = 0; i < n; i += 1) {
        for (let j = 0; j < m; j += 1) {
          context.fillStyle = `hsl(210 30% ${Math.round(38 + 58 * ranks[i][j])}%)`;
          context.fillRect((i - 0.5) * size / (n - 1), size - (j + 0.5) * size / (m - 1), size / (n - 1) + 1, size / (m - 1) + 1);
        }
      }
      context.strokeStyle = "rgb(30 40 60 / 0.55)"; context.lineWidth = 1; context.beginPath();
      for (let level = 0.1; level < 0.95; level += 0.1) this.contour(context, ranks, level);
      context.stroke();
    }

    contour(context, ranks, level) {
      const n = ranks.length - 1, m = ranks[0].length - 1, { size } = this;
      for (let i = 0; i < n; i += 1) {
        for (let j = 0; j < m; j += 1) {
          const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]], crossed = [];
          for (let c = 0; c < 4; c += 1) {
            const [a, b] = [corners[c], corners[(c + 1) % 4]], [u, v] = [ranks[a[0]][a[1]], ranks[b[0]][b[1]]];
            if ((u < level) === (v < level)) continue;
            const share = (level - u) / (v - u);
            crossed.push([(a[0] + (b[0] - a[0]) * share) * size / n, size - (a[1] + (b[1] - a[1]) * share) * size / m]);
          }
          for (let c = 0; c + 1 < crossed.length; c += 2) {
            context.moveTo(...crossed[c]); context.lineTo(...crossed[c + 1]);
          }
        }
      }
    }

    show(k) {
      const [x, y] = this.places[k];
      for (const circle of [this.halo, this.point]) { circle.setAttribute("cx", String(x)); circle.setAttribute("cy", String(y)); }
      this.way.setAttribute("points", this.places.slice(0, k + 1).map((place) => place.join(",")).join(" "));
      const { names } = this.surface;
      const where = names.map((name, j) => `${name} ${cellAt(this.data, this.columns[j], k)}`).join(", ");
      this.over.setAttribute("aria-label", `${this.words.surface}: ${where}`);
    }
  }

  // --- the whole -----------------------------------------------------------------------------------------------------

  /**
   * Show the step-through; null where there is nothing to step through, which the notes then say.
   * @param {HTMLElement} root where the section is drawn
   * @param {object} data what stepping_data returned
   * @param {{step: number, set: function(number): void, listen: function(function(number): void): void}} cursor
   * @param {object} words the labels of the page; the section's own are above, by the page's language
   */
  function stepping(root, data, cursor, words) { // eslint-disable-line no-unused-vars
    const own = document.documentElement.lang.startsWith("zh") ? LABELS.zh : LABELS.en;
    root.classList.add("stepping");
    const notes = make("ul", { class: "step-notes" }, ...data.notes.map((note) => make("li", {}, note)));
    if (!data.steps.length) { root.append(notes); return null; }

    let now = 0, chosen = null, timer = null;
    const last = data.steps.length - 1;
    const button = (key, sign, act) => {
      const found = make("button", { type: "button", "aria-label": own[key], title: own[key], "data-do": key }, sign);
      found.addEventListener("click", act);
      return found;
    };
    const slider = make("input", { type: "range", min: "0", max: String(last), step: "1", "aria-label": own.slider });
    const told = make("output", { class: "step-told" });
    const play = button("play", "▶", () => (timer === null ? start() : stop()));
    const mode = make("select", { "aria-label": own.draw },
      make("option", { value: "weight" }, data.edges.some((edge) => edge.entry) ? own.weight : own.slope),
      ...(data.edges.some((edge) => edge.gradient !== null) ? [make("option", { value: "gradient" }, own.gradient)] : []));
    const bar = make("div", { class: "step-bar", role: "group", "aria-label": own.title },
      button("first", "«", () => go(0)), button("back", "‹", () => go(now - 1)), play,
      button("forward", "›", () => go(now + 1)), button("last", "»", () => go(last)), slider, told);
    const panel = make("div", { class: "step-panel", "aria-live": "polite" });
    const drawing = data.nodes.length ? new Drawing(data, own, choose) : null;
    const surface = data.surface ? new Surface(data, own) : null;
    const body = make("tbody");
    const rows = Object.keys(data.entries.weights).map((name) => {
      const row = make("tr", { "data-entry": name }, make("th", { scope: "row" }, name), make("td"), make("td"));
      body.append(row);
      return { name, row };
    });
    const head = make("tr", {}, ...[own.entry, own.weight, own.gradient].map((text) => make("th", { scope: "col" }, text)));
    const table = make("table", { class: "step-table" }, make("caption", {}, own.table), make("thead", {}, head), body);
    const left = make("div", { class: "step-left" });
    if (drawing) left.append(make("label", { class: "step-mode" }, `${own.draw} `, mode), drawing.box, make("p", { class: "step-legend" }, own.legend));
    if (surface) left.append(surface.box);
    const right = make("div", { class: "step-right" });
    if (drawing) right.append(panel);
    right.append(table);
    root.append(bar, make("p", { class: "step-legend" }, own.keys), make("div", { class: "step-parts" }, left, right), notes);

    function go(k, quiet = false) {
      now = Math.max(0, Math.min(last, k));
      slider.value = String(now);
      slider.setAttribute("aria-valuetext", `${own.slider} ${data.steps[now]}`);
      told.textContent = `${own.slider} ${data.steps[now].toLocaleString("en")} ${own.of} ${data.steps[last].toLocaleString("en")}`;
      for (const { name, row } of rows) {
        row.children[1].textContent = cellAt(data, data.entries.weights[name], now) ?? "";
        row.children[2].textContent = cellAt(data, data.entries.gradients[name], now) ?? "";
      }
      if (drawing) { drawing.show(now, chosen); derive(); }
      if (surface) surface.show(now);
      if (!quiet && cursor) cursor.set(data.steps[now]);
    }
    function choose(what) { chosen = what; drawing.show(now, chosen); derive(); }
    function derive() {
      if (!chosen) { panel.replaceChildren(make("p", {}, own.choose)); return; }
      const texts = chosen.lines.map((line) => textAt(data, data.lines[line], now)).filter((text) => text !== null);
      panel.replaceChildren(make("h4", {}, `${own.derivation}: ${chosen.id}`), make("p", {}, describe(data, own, chosen, now)),
        ...texts.map((text) => make("pre", {}, text)), ...(texts.length ? [] : [make("p", {}, own.none)]));
    }
    function sign() {
      const key = timer === null ? "play" : "pause";
      play.textContent = timer === null ? "▶" : "❙❙";
      play.setAttribute("aria-label", own[key]); play.title = own[key];
    }
    function start() {
      if (now === last) go(0);
      timer = setInterval(() => { if (now >= last) stop(); else go(now + 1); }, PLAY_MS);
      panel.setAttribute("aria-live", "off");
      sign();
    }
    function stop() {
      clearInterval(timer); timer = null;
      panel.setAttribute("aria-live", "polite");
      sign();
    }
    slider.addEventListener("input", () => go(Number(slider.value)));
    mode.addEventListener("change", () => { drawing.mode = mode.value; drawing.show(now, chosen); });
    document.addEventListener("keydown", (event) => {
      const inside = root.contains(event.target) || event.target === document.body;
      const typed = ["INPUT", "SELECT", "TEXTAREA", "SUMMARY"].includes(event.target.tagName);
      if (!inside || typed || event.ctrlKey || event.metaKey || event.altKey) return;
      const moves = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last };
      if (event.key in moves) { event.preventDefault(); go(moves[event.key]); }
      else if (event.key === " " && event.target === document.body) { event.preventDefault(); play.click(); }
    });
    if (drawing) {
      const lay = () => {
        const narrow = root.clientWidth < 620;
        if (drawing.narrow === narrow) return;
        drawing.lay(narrow); drawing.show(now, chosen);
      };
      lay();
      new ResizeObserver(lay).observe(root);
    }
    if (cursor) cursor.listen((step) => { const k = nearest(data.steps, step); if (k !== now) go(k, true); });
    go(cursor && cursor.step !== null && cursor.step !== undefined ? nearest(data.steps, cursor.step) : 0, true);
    return { set: go };
  }

  return { stepping, textAt, cellAt };
})();
