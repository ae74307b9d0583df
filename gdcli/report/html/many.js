"use strict";
// @ts-check
/** Many runs: curves with bands, tables that sort, rows switched on and off. */
const MANY = (() => {
  /**
   * @param {HTMLElement} root where the section is drawn
   * @param {object} data what many_data or side_by_side returned
   * @param {Object<string, string>} words the labels of the page's language
   */
  function many(root, data, words) {}
  return { many };
})();
