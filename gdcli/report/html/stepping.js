"use strict";
// @ts-check
/** The steps of a small net or an objective, one by one. */
const STEPPING = (() => {
  /**
   * @param {HTMLElement} root where the section is drawn
   * @param {object} data what stepping_data returned
   * @param {{step: number, set: function(number): void, listen: function(function(number): void): void}} cursor
   * @param {Object<string, string>} words the labels of the page's language
   */
  function stepping(root, data, cursor, words) {}
  return { stepping };
})();
