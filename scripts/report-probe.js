// Looks at a report from inside the page; the browser's check puts it there before the page begins.
window.reportProbe = (() => {
  "use strict";

  const MARKS = ".barlayer .point path, .scatterlayer .points path, .scatterlayer path.js-line, .heatmaplayer image";
  const violations = [];
  document.addEventListener("securitypolicyviolation", (event) => {
    violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`.trim());
  });

  const isDrawn = (mark) => {
    const { width, height } = mark.getBoundingClientRect();
    return width > 0 || height > 0;
  };

  function readPlots() {
    return Array.from(document.querySelectorAll(".plot, .plot-failed"), (plot) => {
      const { width, height } = plot.getBoundingClientRect();
      return { id: plot.id, width, height, marks: Array.from(plot.querySelectorAll(MARKS)).filter(isDrawn).length };
    });
  }

  // What is scrolled inside its own frame does not count.
  function findOverflow() {
    const limit = document.documentElement.clientWidth;
    const wide = Array.from(document.querySelectorAll("main *, header *, footer *")).find(
      (element) =>
        element.closest(".numbers table, .plot") === null && element.getBoundingClientRect().right > limit + 1,
    );
    const scroll = document.documentElement.scrollWidth;
    if (scroll <= limit && wide === undefined) return null;
    return `${scroll} px wide in ${limit} px (${wide === undefined ? "?" : `${wide.tagName}.${wide.className}`})`;
  }

  function luminance(name) {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim().replace("#", "");
    const [red, green, blue] = [0, 2, 4].map((at) => {
      const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  // Text needs 4.5 to 1 against the page, marks 3 to 1.
  function findPale() {
    const surface = luminance("--surface");
    const needs = [
      ["--ink", 7],
      ["--muted", 4.5],
      ["--focus", 3],
    ];
    for (let index = 1; index <= 8; index++) needs.push([`--c${index}`, 3]);
    return needs.flatMap(([name, least]) => {
      const own = luminance(name);
      const contrast = (Math.max(own, surface) + 0.05) / (Math.min(own, surface) + 0.05);
      return contrast >= least ? [] : [`${name} has a contrast of ${contrast.toFixed(2)}, ${least} is needed`];
    });
  }

  function readFocus() {
    const element = document.activeElement;
    if (element === null || element === document.body) return null;
    const style = getComputedStyle(element);
    return {
      words: `${element.tagName.toLowerCase()} ${element.className} ${element.textContent.trim().slice(0, 40)}`.trim(),
      // Tells two stops apart that read alike.
      place: Array.from(document.querySelectorAll("*")).indexOf(element),
      table: element.classList.contains("toggle") ? element.getAttribute("aria-controls") : null,
      isSeen: style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) > 0,
    };
  }

  function readTable(id) {
    const table = document.getElementById(id);
    return {
      isVisible: table.getBoundingClientRect().height > 0,
      expanded: document.querySelector(`[aria-controls="${id}"]`).getAttribute("aria-expanded"),
      rows: table.querySelectorAll("tbody tr").length,
    };
  }

  function openTables() {
    for (const button of document.querySelectorAll(".toggle")) button.click();
  }

  function readTickColor() {
    const tick = document.querySelector(".plot .xtick text, .plot .ytick text");
    return tick === null ? "" : getComputedStyle(tick).fill;
  }

  return {
    violations: () => violations,
    state: () => document.documentElement.dataset.charts ?? "",
    countToggles: () => document.querySelectorAll(".toggle").length,
    readPlots,
    findOverflow,
    findPale,
    readFocus,
    readTable,
    openTables,
    readTickColor,
  };
})();
