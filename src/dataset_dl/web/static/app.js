// The frame: which page is shown, links without reloading, and what all pages share.

import { ask, announce, h, problem, signIn, signOut } from "/static/dom.js";
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
  if (!page) {
    if (!home()) return main.replaceChildren(h("p", {}, "There is no page for you yet. Ask whoever runs this server."));
    return go(`/${home()}`, { replace: true });
  }
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
    return main.replaceChildren(error.mustSignIn ? signInForm() : problem(error));
  }
  const running = h("span", { class: "badge", hidden: true });
  nav.replaceChildren(...about.pages.filter((page) => page.is_listed).map((page) =>
    h("a", { href: `/${page.name}`, "data-page": page.name }, page.title, page.name === "downloads" ? running : null)));
  if (about.is_hosted) nav.append(h("button", { type: "button", class: "link", onclick: signOut }, `Sign out ${about.person}`));
  jobs.onchange(() => {
    const open = jobs.list.filter((job) => ["PENDING", "IN_PROGRESS"].includes(job.state)).length;
    running.hidden = !open;
    running.textContent = open ? ` ${open}` : "";
  });
  document.addEventListener("click", follow);
  window.addEventListener("popstate", show);
  if (about.pages.some((page) => page.name === "downloads")) jobs.listen();
  await (location.pathname === "/" ? go(`/${home()}`, { replace: true }) : show());
}

// The first page of those that a person may see.
const home = () => about.pages.find((page) => page.is_listed)?.name ?? "";

function signInForm() {
  const name = h("input", { id: "name", name: "name", autocomplete: "username", required: true });
  const password = h("input", { id: "password", name: "password", type: "password", autocomplete: "current-password", required: true });
  const told = h("div", { "aria-live": "polite" });
  async function submit(event) {
    event.preventDefault();
    try {
      await signIn(name.value, password.value);
      location.reload();
    } catch (error) {
      told.replaceChildren(problem(error));
    }
  }
  return h("form", { class: "card sign-in", onsubmit: submit }, h("h1", {}, "Sign in"),
    h("p", {}, h("label", { for: "name" }, "Name"), name), h("p", {}, h("label", { for: "password" }, "Password"), password),
    told, h("div", { class: "buttons" }, h("button", { type: "submit" }, "Sign in")));
}

begin();
