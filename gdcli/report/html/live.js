"use strict";
// @ts-check
/* global CHARTS */
/** The page of a record that grows: new data by server-sent events, drawn anew with what its reader has set. */
const LIVE = (() => {
  const RETRY_MS = 1000, RETRIES = 4;
  const SET = "section input, section select, section button[aria-pressed], section th[aria-sort]";
  const FOCUSED = "a, button, input, select, [tabindex]";

  /**
   * Return what can be set or focused, by names that stay the same when it is drawn anew.
   * @param {HTMLElement} page
   * @param {string} selector
   */
  function named(page, selector) {
    /** @type {Map<string, any>} */
    const found = new Map();
    for (const one of /** @type {NodeListOf<any>} */ (page.querySelectorAll(selector))) {
      const heading = one.closest("section") && one.closest("section").querySelector("h2");
      const label = one.getAttribute("aria-label") || (one.querySelector("span:not(:empty)") || one).firstChild;
      const text = label instanceof Node ? label.textContent : label || "";
      const name = [heading ? heading.textContent : "", one.tagName, one.type || "", text].join("|");
      let k = 0;
      while (found.has(`${name}|${k}`)) k += 1;
      found.set(`${name}|${k}`, one);
    }
    return found;
  }

  /** @param {any} one */
  function state(one) {
    if (one.tagName === "TH") return one.getAttribute("aria-sort");
    if (one.tagName === "BUTTON") return one.getAttribute("aria-pressed");
    return one.type === "checkbox" ? String(one.checked) : one.value;
  }

  /** @param {HTMLElement} page */
  function states(page) {
    return new Map([...named(page, SET)].map(([name, one]) => [name, state(one)]));
  }

  /**
   * Set a control as its reader would, so that its listeners hear of it.
   * @param {any} one
   * @param {string} wanted
   */
  function set(one, wanted) {
    if (one.tagName === "TH") one.querySelector("button").click();
    else if (one.tagName === "BUTTON" || one.type === "checkbox") one.click();
    else {
      one.value = wanted;
      one.dispatchEvent(new Event(one.tagName === "SELECT" ? "change" : "input", { bubbles: true }));
    }
  }

  /**
   * What the reader set, kept from one drawing to the next.
   * @param {HTMLElement} page
   */
  function memory(page) {
    const kept = new Map();
    let drawn = states(page);
    return {
      take() {
        for (const [name, now] of states(page)) if (drawn.has(name) && drawn.get(name) !== now) kept.set(name, now);
      },
      give() {
        for (const [name, wanted] of kept) {
          for (let times = 0; times < 2; times++) { // a column sorts down by the second click
            const one = named(page, SET).get(name);
            if (one && state(one) !== wanted) set(one, wanted);
          }
        }
        drawn = states(page);
      },
    };
  }

  /**
   * Draw the page anew, and leave its reader where they are.
   * @param {HTMLElement} page
   * @param {function(object): void} draw
   * @param {object} data
   * @param {{take: function(): void, give: function(): void}} remembered
   */
  function again(page, draw, data, remembered) {
    const top = scrollY, aside = [...page.querySelectorAll(".wide")].map((one) => one.scrollLeft);
    const focused = [...named(page, FOCUSED)].find(([, one]) => one === document.activeElement);
    remembered.take();
    const views = CHARTS.clear();
    draw(data);
    remembered.give();
    CHARTS.zoom(views);
    page.querySelectorAll(".wide").forEach((one, k) => { one.scrollLeft = aside[k] || 0; });
    const one = focused && named(page, FOCUSED).get(focused[0]);
    if (one && one !== document.activeElement) one.focus({ preventScroll: true });
    scrollTo({ top, behavior: "instant" });
  }

  /** Say whether a text is selected, as to be copied; a double click on a chart selects too, and means its zoom. */
  function isSelecting() {
    const selection = getSelection(), node = selection && selection.anchorNode;
    if (!node || selection.toString().trim() === "") return false;
    return (node instanceof Element ? node : node.parentElement).closest(".chart") === null;
  }

  /**
   * Follow the server of this page until the command ends.
   * @param {HTMLElement} page
   * @param {function(object): void} draw draws all sections of some data
   * @param {Words} words the labels of the page's language
   */
  function follow(page, draw, words) {
    const box = document.createElement("p"), told = document.createElement("span");
    const hold = document.createElement("button");
    box.className = "live";
    told.setAttribute("role", "status");
    hold.type = "button";
    hold.textContent = words.hold;
    hold.setAttribute("aria-pressed", "false");
    box.append(told, hold);
    page.querySelector("h1").after(box);
    const remembered = memory(page);
    /** @type {string|null} */
    let waiting = null;
    let isBusy = false, lost = 0, wasOpen = false;

    /**
     * @param {string} text
     * @param {string} kind
     */
    function say(text, kind) {
      if (told.textContent !== text) told.textContent = text;
      box.dataset.state = kind;
      hold.hidden = kind !== "live" && waiting === null;
    }

    /** Draw what came, unless its reader is in the middle of something. */
    function show() {
      const isHeld = hold.getAttribute("aria-pressed") === "true";
      if (waiting === null || isHeld || isBusy || document.hidden || isSelecting()) return;
      const data = JSON.parse(waiting);
      waiting = null;
      again(page, draw, data, remembered);
      if (box.dataset.state !== "live") hold.hidden = true;
    }

    /** @param {string} text */
    function end(text) {
      hold.setAttribute("aria-pressed", "false");
      show();
      say(text, "ended");
    }

    function open() {
      const source = new EventSource(`events${location.search}`);
      source.addEventListener("open", () => { wasOpen = true; lost = 0; say(words.live, "live"); });
      source.addEventListener("data", (event) => { waiting = event.data; show(); });
      source.addEventListener("end", (event) => {
        source.close();
        const status = JSON.parse(event.data);
        /** @type {Record<string, string>} */
        const names = words.values;
        end(`${words.liveEnded}${status && status !== "running" ? ` (${names[status] || status})` : ""}`);
      });
      source.addEventListener("error", () => {
        const isRefused = source.readyState === EventSource.CLOSED;
        source.close();
        lost += 1;
        if (isRefused && !wasOpen) end(words.liveFull);
        else if (lost > RETRIES) end(words.liveLost);
        else setTimeout(open, RETRY_MS);
      });
    }

    hold.addEventListener("click", () => {
      hold.setAttribute("aria-pressed", String(hold.getAttribute("aria-pressed") !== "true"));
      show();
    });
    page.addEventListener("pointerdown", (event) => { isBusy = !box.contains(/** @type {Node} */ (event.target)); });
    for (const name of ["pointerup", "pointercancel"]) {
      addEventListener(name, () => { isBusy = false; setTimeout(show); });
    }
    document.addEventListener("selectionchange", () => setTimeout(show));
    document.addEventListener("visibilitychange", show);
    say(words.live, "live");
    open();
  }

  return { follow };
})();
