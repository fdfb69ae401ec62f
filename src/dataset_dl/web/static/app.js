// The frame: which page is shown, links without reloading, and what all pages share.

import { ask, announce, h, problem } from "/static/dom.js";
import { Jobs } from "/static/jobs.js";

const main = document.getElementById("main");
const nav = document.getElementById("pages");
export const jobs = new Jobs();
let about = null;
let leave = null;
let shown = "";
let turn = 0;
let chosen = "";

export function go(address, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  return show();
}

async function show() {
  const mine = ++turn;
  const [name, ...rest] = location.pathname.slice(1).split("/");
  const page = about.pages.find((each) => each.name === name);
  if (!page) return go("/explore", { replace: true });
  mark(name);
  if (name === shown && leave?.changed) return leave.changed(location.search, rest.join("/"));
  leave?.end?.();
  leave = null;
  const isOther = shown !== "" && shown !== name;
  shown = name;
  document.title = `${page.title} · dataset-dl`;
  const root = h("div", { class: `page ${name}` });
  main.replaceChildren(root);
  if (isOther) {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
    announce(page.title);
  }
  if (page.missing) return root.append(h("h1", {}, page.title), h("p", { class: "problem" }, page.missing));
  try {
    const module = await import(page.script ?? `/static/${name}.js`);
    if (mine !== turn) return;
    leave = (await module.show(root, { about, jobs, go, search: location.search, rest: rest.join("/") })) ?? null;
  } catch (error) {
    root.append(problem(error));
  }
}

// What is chosen stays chosen, whichever page is looked at in between.
function mark(name) {
  if (["explore", "cohort"].includes(name)) chosen = location.search;
  for (const link of nav.querySelectorAll("a")) {
    if (["explore", "cohort"].includes(link.dataset.page)) link.search = chosen;
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function follow(event) {
  const link = event.target.closest?.("a[href]");
  const isOurs = link && link.origin === location.origin && !link.hasAttribute("download") && !link.target && !link.hash;
  if (!isOurs || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || link.pathname.startsWith("/api/")) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

async function begin() {
  try {
    about = await ask("about");
  } catch (error) {
    return main.replaceChildren(problem(error));
  }
  const running = h("span", { class: "badge", hidden: true });
  nav.replaceChildren(...about.pages.filter((page) => page.is_listed).map((page) =>
    h("a", { href: `/${page.name}`, "data-page": page.name }, page.title, page.name === "downloads" ? running : null)));
  jobs.onchange(() => {
    const open = jobs.list.filter((job) => ["PENDING", "IN_PROGRESS"].includes(job.state)).length;
    running.hidden = !open;
    running.textContent = open ? ` ${open}` : "";
  });
  document.addEventListener("click", follow);
  window.addEventListener("popstate", show);
  jobs.listen();
  await (location.pathname === "/" ? go("/explore", { replace: true }) : show());
}

begin();
