// Disk: what was downloaded below the directories of the page, whether it is whole and up to date.

import { ask, count, counted, h, problem, size, when } from "/static/dom.js";

export async function show(root, { about, go }) {
  root.append(h("h1", {}, "Disk"), h("p", { class: "quiet" }, `Below ${about.roots.map((each) => `${each.path} (${size(each.free_bytes)} free)`).join(" and ")}.`));
  const trees = await ask("disk");
  if (!trees.length) root.append(h("p", {}, "Nothing was downloaded here yet."));
  root.append(h("ul", { class: "jobs" }, ...trees.map((tree) => card(tree, go))));
  return {};
}

function card(tree, go) {
  const told = h("div", { "aria-live": "polite" });
  const work = (kind) => async () => {
    try {
      await ask("check", { kind, to: tree.path });
      await go("/downloads");
    } catch (error) {
      told.replaceChildren(problem(error));
    }
  };
  const collections = Object.entries(tree.collections ?? {}).sort((one, other) => other[1] - one[1]);
  return h("li", { class: "card" }, h("h2", {}, tree.path),
    tree.problem ? h("p", { class: "problem" }, tree.problem) : h("p", { class: "numbers" },
      `${counted(tree.series, "series", "series")}, ${size(tree.size_bytes)}, IDC v${tree.idc_version ?? "?"} · ${tree.is_complete ? "the last download was complete" : "the last download is incomplete"}`),
    collections.length ? h("p", { class: "quiet" }, collections.slice(0, 6).map(([name, series]) => `${name} (${count(series)})`).join(", "), collections.length > 6 ? ` and ${collections.length - 6} more` : "") : null,
    h("p", {}, tree.verified ? `${tree.verified.state === "SUCCESS" ? "Verified" : "Looked at"} ${when(tree.verified.when)}: ${tree.verified.message}` : "Not verified since it was downloaded."),
    told,
    h("div", { class: "buttons" }, ...[["verify", "Verify"], ["repair", "Repair"], ["update", "Update"]].map(([kind, title]) => h("button", { type: "button", onclick: work(kind), "aria-label": `${title} ${tree.path}` }, title)),
      h("button", { type: "button", "aria-label": `Compare ${tree.path} with today's index`, onclick: () => compare(tree, told) }, "Compare with today's index")));
}

async function compare(tree, told) {
  told.replaceChildren(h("p", {}, "Comparing…"));
  try {
    const found = await ask(`disk/diff?tree=${encodeURIComponent(tree.path)}`);
    if (found.is_current) return told.replaceChildren(h("p", {}, `It is up to date with IDC v${found.idc_version}.`));
    told.replaceChildren(h("p", {}, `${counted(found.count, "series has", "series have")} changed since v${found.downloaded_version}. Update fetches what is newer and sets aside what is outdated.`),
      h("ul", { class: "failures" }, ...found.changes.map((each) => h("li", {}, `${each.change}: ${each.collection_id} ${each.SeriesInstanceUID}`))));
  } catch (error) {
    told.replaceChildren(problem(error));
  }
}
