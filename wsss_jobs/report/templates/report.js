"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const root = document.documentElement;

  // Tables: a click on a column's name sorts by it.
  for (const button of all("table[data-sortable] thead button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), body = head.closest("table").tBodies[0], column = head.cellIndex;
      const first = column === 0 ? "ascending" : "descending", second = column === 0 ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? second : first;
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const value = row => Number(row.cells[column].dataset.v);
      body.append(...[...body.rows].sort((a, b) => sign * (value(a) - value(b))));
    });
  }

  const list = one("#cards");
  if (!list) return;

  // Gallery: filter and order.
  const cards = all(".card", list);
  const byClass = one("#by-class"), byOrder = one("#by-order"), byName = one("#by-name");
  const visible = () => all(".card:not([hidden])", list);

  function filter() {
    const wanted = byClass.value, text = byName.value.trim().toLowerCase();
    for (const card of cards) {
      const fits = !wanted || card.dataset.classes.split(" ").includes(wanted);
      card.hidden = !(fits && card.dataset.name.toLowerCase().includes(text));
    }
    for (const chip of all("button.chip")) chip.setAttribute("aria-pressed", String(chip.dataset.class === wanted));
    const count = visible().length;
    one("#shown").textContent = `${count} of ${cards.length} images`;
    one("#none-shown").hidden = count > 0;
  }

  function order() {
    const key = byOrder.value.replace("-", ""), sign = byOrder.value.startsWith("-") ? -1 : 1;
    const number = card => card.dataset[key] === "" ? Infinity : sign * Number(card.dataset[key]);
    const compare = key === "name"
      ? (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true })
      : (a, b) => number(a) - number(b) || a.dataset.rank - b.dataset.rank;
    list.append(...cards.sort(compare));
  }

  byClass.addEventListener("change", filter);
  byName.addEventListener("input", filter);
  byOrder.addEventListener("change", order);
  for (const chip of all("button.chip")) {
    chip.addEventListener("click", () => {
      byClass.value = byClass.value === chip.dataset.class ? "" : chip.dataset.class;
      filter();
    });
  }

  // What is shown of each image, and how.
  const sliders = [one("#opacity"), one("#viewer-opacity")];
  for (const slider of sliders) {
    slider.addEventListener("input", () => {
      for (const other of sliders) other.value = slider.value;
      root.style.setProperty("--opacity", slider.value / 100);
    });
  }
  // As many columns as fit, shared evenly among the rows that they take.
  function arrange() {
    const count = Math.max(1, all(".layers input:checked").length), width = list.clientWidth - 26, gap = 8;
    const fitting = Math.max(1, Math.floor((width + gap) / (Number(one("#size").value) + gap)));
    const columns = Math.ceil(count / Math.ceil(count / fitting));
    list.style.setProperty("--columns", Math.max(columns, Math.ceil(width / 640)));
    list.style.setProperty("--narrowest", "0px");
  }
  one("#size").addEventListener("change", arrange);
  new ResizeObserver(arrange).observe(list);
  for (const box of all(".layers input")) {
    box.addEventListener("change", () => {
      list.classList.toggle(`hide-${box.dataset.layer}`, !box.checked);
      arrange();
    });
  }

  // Large view.
  const viewer = one("#viewer");
  let card, layer;

  function show(newCard, newLayer) {
    const panels = all(".panel", newCard);
    card = newCard;
    layer = (newLayer + panels.length) % panels.length;
    const picture = one(".picture", panels[layer]).cloneNode(true);
    for (const image of all("img", picture)) image.loading = "eager";
    one(".viewer-picture", viewer).replaceChildren(picture);
    one("h3", viewer).textContent = card.dataset.name;
    one(".viewer-tags", viewer).replaceChildren(...all(".chips .chip", card).map(chip => {
      const tag = document.createElement("span");
      tag.append(...[...chip.childNodes].map(node => node.cloneNode(true)));
      return tag;
    }));
    one(".viewer-tabs", viewer).replaceChildren(...panels.map((panel, index) => {
      const tab = document.createElement("button");
      const [title, score] = all(".caption span", panel);
      tab.append(title.textContent);
      if (score) tab.append(Object.assign(document.createElement("b"), { textContent: score.textContent }));
      tab.type = "button";
      tab.role = "tab";
      tab.setAttribute("aria-selected", String(index === layer));
      tab.addEventListener("click", () => show(card, index));
      return tab;
    }));
    if (!viewer.open) viewer.showModal();
    one("[aria-selected=true]", viewer).scrollIntoView({ block: "nearest", inline: "center" });
  }

  function go(distance) {
    const shown = visible(), index = shown.indexOf(card);
    show(shown[(index + distance + shown.length) % shown.length], layer);
  }

  list.addEventListener("click", event => {
    const panel = event.target.closest(".panel");
    if (panel) show(panel.closest(".card"), Number(panel.dataset.layer));
  });
  viewer.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (button && button.dataset.go) go(Number(button.dataset.go));
    if (button && "close" in button.dataset) viewer.close();
  });
  viewer.addEventListener("keydown", event => {
    if (event.target.type === "range") return;
    const action = {
      ArrowLeft: () => show(card, layer - 1),
      ArrowRight: () => show(card, layer + 1),
      ArrowUp: () => go(-1),
      ArrowDown: () => go(1),
      " ": () => viewer.classList.toggle("bare"),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  viewer.addEventListener("close", () => {
    viewer.classList.remove("bare");
    card.scrollIntoView({ block: "nearest" });
  });
})();
