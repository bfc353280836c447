// What the browser tests ask of a page, by hand: contrast, names, headings.

// Notes what a page's content security policy refuses.
function note() {
  window.violations = [];
  addEventListener("securitypolicyviolation", (event) => {
    window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
  });
}

// Texts whose contrast to what is behind them is less than 4.5 (WCAG 2, AA).
function contrast() {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parts = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const paper = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parts(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const style = getComputedStyle(element);
    if (!own || style.visibility === "hidden" || !element.getClientRects().length || element.closest("svg")) continue;
    const [a, b] = [light(parts(style.color)), light(paper(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const text = element.textContent.trim().slice(0, 40);
    if (ratio < 4.5) poor.push(`${element.tagName} ${element.className} ${text}: ${ratio.toFixed(2)}`);
  }
  return poor;
}

// What a screen reader could not tell.
function access() {
  const wrong = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const name = (one) => one.getAttribute("aria-label") || one.labels?.[0]?.innerText || one.innerText || one.title;
  for (const field of all("input:not([type=hidden]):not([hidden]), select, button, a[href], summary")) {
    if (!name(field)?.trim()) wrong.push(`no name: ${field.outerHTML.slice(0, 100)}`);
  }
  for (const image of all("img:not([alt])")) wrong.push(`no alt: ${image.src}`);
  for (const image of all("svg:not([aria-hidden]):not([aria-label])")) wrong.push("svg without a name");
  for (const table of all("table")) {
    if (!table.closest("#page-report .rich") && !table.querySelector("th")) wrong.push("table without headings");
  }
  const levels = all("h1, h2, h3, h4, h5, h6").map((one) => Number(one.tagName[1]));
  if (levels.filter((one) => one === 1).length !== 1) wrong.push(`not exactly one h1: ${levels}`);
  levels.forEach((one, index) => {
    if (one - (levels[index - 1] ?? 0) > 1) wrong.push(`a heading level left out: ${levels}`);
  });
  const ids = all("[id]").map((one) => one.id);
  for (const id of ids.filter((one, index) => ids.indexOf(one) !== index)) wrong.push(`an id twice: ${id}`);
  if (!document.documentElement.lang) wrong.push("no language");
  if (!document.title) wrong.push("no title");
  if (!document.querySelector("main")) wrong.push("no main");
  return wrong;
}
