"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const parts = [...document.querySelectorAll("details.incident")];
  const all = document.getElementById("open-all");
  if (parts.length > 1 && parts.length <= 50) {
    all.hidden = false;
    all.addEventListener("click", () => {
      const open = parts.some((part) => !part.open);
      for (const part of parts) part.open = open;
      all.textContent = open ? "Close all" : "Open all";
    });
  }
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target && target.matches("details")) { target.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  reveal();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const part of closed) part.open = true;
  });
  addEventListener("afterprint", () => { for (const part of closed) part.open = false; closed = []; });

  const valueOf = (row, column, kind) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return kind === "number" ? Number(text.replace(/,/g, "")) || 0 : text.toLowerCase();
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const kind = head.dataset.sort;
      if (!kind) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const way = head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", way);
        const sign = way === "ascending" ? 1 : -1;
        const keyed = [...table.tBodies[0].rows].map((row) => [valueOf(row, column, kind), row]);
        keyed.sort((a, b) => sign * (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
        table.tBodies[0].append(...keyed.map((pair) => pair[1]));
        table.dispatchEvent(new Event("sorted"));
      });
    });
  }

  // A long table begins with its first rows; whoever searches or asks sees all.
  const first = 40;
  const find = document.getElementById("find");
  if (find) {
    const body = document.getElementById(find.dataset.for).tBodies[0];
    const texts = new Map([...body.rows].map((row) => [row, row.textContent.toLowerCase()]));
    const more = document.getElementById("more");
    let limit = first;
    const show = () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      let found = 0;
      for (const row of body.rows) {
        const fits = words.every((word) => texts.get(row).includes(word));
        found += fits ? 1 : 0;
        row.hidden = !fits || found > limit;
      }
      more.hidden = found <= limit;
      more.textContent = `Show all ${found}`;
      document.getElementById("found").textContent = words.length ? `${found} of ${texts.size}` : "";
    };
    find.addEventListener("input", show);
    more.addEventListener("click", () => { limit = Infinity; show(); });
    document.getElementById(find.dataset.for).addEventListener("sorted", show);
    addEventListener("beforeprint", () => { limit = Infinity; show(); });
    show();
  }
})();
