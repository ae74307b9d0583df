"use strict";
// @ts-check
/* global ELEMENTS, CHARTS, NET, SURFACE */
/**
 * The step-through of a small model: its net or expression as a drawing, a slider over the steps, the derivation of
 * what is chosen, and the point on the surface of the loss. Data: gdcli/commands/report/stepping.py.
 */
const STEPPING = (() => {
  const { make, draw, count, nearest, scrollBox, isTaken } = ELEMENTS, { cellAt } = NET;
  const MARK = "¤"; // in a template, for a number
  const PLAY_MS = 250, CALM_MS = 1000; // between two steps; for those who ask for less motion
  const LONG = 5; // layers, of a drawing that takes the whole width
  const LEGIBLE = 0.7; // of a drawing's size, below which it goes down the page

  /**
   * Return a text of the k-th kept step from its template and columns; null where it has none.
   * @param {Stepped} data
   * @param {SharedLine} line
   * @param {number} k
   */
  function textAt(data, line, k) {
    const form = line.which ? line.which[k] : 0;
    if (form < 0 || !line.forms.length) return null;
    const [template, columns] = line.forms[form], [first, ...parts] = data.templates[template].split(MARK);
    return first + parts.map((part, j) => cellAt(data, columns[j], k) + part).join("");
  }

  /**
   * Return what an edge's colour, dashes and width mean.
   * @param {Words["stepping"]} words
   */
  function legend(words) {
    const line = (/** @type {string} */ kind) => draw("svg", { width: 40, height: 10, "aria-hidden": "true" },
      draw("line", { x1: 0, y1: 5, x2: 40, y2: 5, "stroke-width": 4, class: `step-line step-${kind}` }));
    return make("p", { class: "step-legend" }, line("positive"), ` ${words.positive} `, line("negative"),
      ` ${words.negative} · ${words.wider}`);
  }

  /**
   * Return the table of the weights and gradients, and what fills it for the k-th step.
   * @param {Stepped} data
   * @param {Words["stepping"]} words
   */
  function entries(data, words) {
    const body = make("tbody"), rows = Object.keys(data.entries.weights).map((name) => {
      const row = make("tr", { "data-entry": name }, make("th", { scope: "row" }, name), make("td"), make("td"));
      body.append(row);
      return { name, row };
    });
    const names = [words.entry, words.weight, words.gradient];
    const head = make("tr", {}, ...names.map((text) => make("th", { scope: "col" }, text)));
    const table = make("table", { class: "step-table" },
      make("caption", {}, words.table), make("thead", {}, head), body);
    const element = scrollBox(words.table, "step-entries", table);
    const show = (/** @type {number} */ k) => {
      for (const { name, row } of rows) {
        row.children[1].textContent = cellAt(data, data.entries.weights[name], k) ?? "";
        row.children[2].textContent = cellAt(data, data.entries.gradients[name], k) ?? "";
      }
    };
    return { element, show };
  }

  /**
   * Return the buttons and the slider of the steps.
   * @param {Stepped} data
   * @param {Words["stepping"]} words
   * @param {{now: function(): number, go: function(number): void, playing: function(boolean): void}} page
   */
  function controls(data, words, page) {
    const last = data.steps.length - 1;
    /** @type {ReturnType<typeof setInterval>|null} */
    let timer = null;
    const button = (/** @type {"first"|"back"|"play"|"forward"|"last"} */ key, /** @type {string} */ sign,
      /** @type {function(): void} */ act) => {
      const name = words[key];
      const found = make("button", { type: "button", "aria-label": name, title: name, "data-do": key }, sign);
      found.addEventListener("click", act);
      return found;
    };
    const slider = make("input", { type: "range", min: "0", max: String(last), step: "1", "aria-label": words.slider });
    const told = make("output", { class: "step-told", "aria-live": "off" }); // the slider tells its own value
    const play = button("play", "▶", () => turn(timer === null));
    const element = make("div", { class: "step-bar", role: "group", "aria-label": words.title },
      button("first", "«", () => page.go(0)), button("back", "‹", () => page.go(page.now() - 1)), play,
      button("forward", "›", () => page.go(page.now() + 1)), button("last", "»", () => page.go(last)), told, slider);

    /** @param {boolean} on */
    function turn(on) {
      if (timer !== null) clearInterval(timer);
      timer = null;
      if (on) {
        if (page.now() === last) page.go(0);
        const between = matchMedia("(prefers-reduced-motion: reduce)").matches ? CALM_MS : PLAY_MS;
        timer = setInterval(() => { if (page.now() >= last) turn(false); else page.go(page.now() + 1); }, between);
      }
      const key = on ? "pause" : "play";
      play.textContent = on ? "❙❙" : "▶";
      play.setAttribute("aria-label", words[key]);
      play.title = words[key];
      page.playing(on);
    }

    /** @param {number} k */
    function show(k) {
      slider.value = String(k);
      slider.setAttribute("aria-valuetext", `${words.slider} ${data.steps[k]}`);
      told.textContent = `${words.slider} ${count(data.steps[k])} ${words.of} ${count(data.steps[last])}`;
    }

    slider.addEventListener("input", () => page.go(Number(slider.value)));
    document.addEventListener("keydown", (event) => {
      if (isTaken(event)) return;
      const moves = { ArrowLeft: page.now() - 1, ArrowRight: page.now() + 1, Home: 0, End: last };
      if (event.key in moves) page.go(moves[/** @type {keyof typeof moves} */ (event.key)]);
      else if (event.key === " ") play.click();
      else return;
      event.preventDefault();
    }, { signal: CHARTS.lifetime() });
    return { element, show };
  }

  /**
   * Show the step-through; where there is nothing to step through the notes say so.
   * @param {HTMLElement} root where the section is drawn
   * @param {Stepped} data
   * @param {Cursor} cursor
   * @param {Words} all the labels of the page
   * @param {HTMLElement} top where the buttons and the slider are put
   */
  function stepping(root, data, cursor, all, top = root) {
    const words = all.stepping;
    const notes = make("ul", { class: "step-notes" }, ...data.notes.map((note) => make("li", {}, note)));
    root.classList.add("stepping");
    if (!data.steps.length) { root.append(notes); return; }

    let now = 0;
    /** @type {NetNode|NetEdge|null} */
    let chosen = null;
    const last = data.steps.length - 1, hasGradients = data.edges.some((edge) => edge.gradient !== null);
    const bar = controls(data, words, { now: () => now, go: (k) => go(k), playing: (on) => {
      panel.setAttribute("aria-live", on ? "off" : "polite");
    } });
    const mode = make("select", {},
      make("option", { value: "weight" }, data.edges.some((edge) => edge.entry) ? words.weight : words.slope),
      ...(hasGradients ? [make("option", { value: "gradient" }, words.gradient)] : []));
    const panel = make("div", { class: "step-panel", "aria-live": "polite" });
    const drawing = data.nodes.length ? new NET.Drawing(data, words, choose) : null;
    /** @type {number[]} */
    const columns = (data.surface ? data.surface.names : []).map((name) => data.entries.weights[name]);
    const path = data.steps.map((_, k) => columns.map((column) => cellAt(data, column, k)));
    const surface = data.surface ? SURFACE.surface(data.surface, path, words) : null;
    const table = entries(data, words);
    const net = drawing && make("div", { class: "step-left" },
      make("label", { class: "step-mode" }, `${words.draw} `, mode), drawing.box, legend(words));
    const right = make("div", { class: "step-right" }, surface && surface.element, table.element);
    const isLong = drawing && drawing.layers > LONG;
    const kind = `step-parts ${isLong ? "step-long" : surface ? "step-with-surface" : ""}`;
    const parts = make("div", { class: kind }, net, drawing && panel, right);
    top.append(bar.element);
    root.append(make("p", { class: "step-legend step-keys" }, words.keys), parts, notes);

    /**
     * @param {number} k
     * @param {boolean} quiet without a word to the charts, which sent it
     */
    function go(k, quiet = false) {
      now = Math.max(0, Math.min(last, k));
      bar.show(now);
      table.show(now);
      if (drawing) { drawing.show(now, chosen); derive(); }
      if (surface) surface.show(now);
      if (!quiet) cursor.set(data.steps[now]);
    }
    /** @param {NetNode|NetEdge} what */
    function choose(what) { chosen = what; drawing.show(now, chosen); derive(); }
    function derive() {
      if (!chosen) { panel.replaceChildren(make("p", { class: "step-keys" }, words.choose)); return; }
      const texts = chosen.lines.map((line) => textAt(data, data.lines[line], now)).filter((text) => text !== null);
      panel.replaceChildren(make("h4", { "aria-level": "3" }, `${words.derivation}: ${chosen.id}`),
        make("p", {}, NET.describe(data, words, chosen, now)),
        ...texts.map((text) => make("pre", {}, text)), ...(texts.length ? [] : [make("p", {}, words.none)]));
    }
    mode.addEventListener("change", () => {
      drawing.mode = mode.value === "gradient" ? "gradient" : "weight";
      drawing.show(now, chosen);
    });
    if (drawing) {
      const lay = () => {
        const isNarrow = net.clientWidth < LEGIBLE * drawing.width;
        if (drawing.narrow === isNarrow) return;
        drawing.lay(isNarrow);
        drawing.show(now, chosen);
      };
      lay();
      new ResizeObserver(lay).observe(net);
    }
    cursor.listen((step) => { const k = nearest(data.steps, step); if (k !== now) go(k, true); });
    go(cursor.step === null ? 0 : nearest(data.steps, cursor.step), true);
  }

  return { stepping };
})();
