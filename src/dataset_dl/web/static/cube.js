// Exact totals for any filter: the same arithmetic as in sources/idc/cube.py, over typed arrays.

export const FACETS = ["collection_id", "cancer_types", "Modality", "BodyPartExamined", "license_short_name", "Manufacturer", "year", "origin", "species"];
export const UNITS = ["patients", "studies", "series", "instances", "size_bytes"];

export class Cube {
  constructor(document) {
    this.size = document.cells.length;
    this.facets = {};
    Object.keys(document.values).forEach((name, place) => {
      const ofCell = document.cells.map((cell) => [cell[place]]);
      this.facets[name] = { values: document.values[name], ...flat(ofCell) };
    });
    const collections = document.values.collection_id;
    for (const [name, known] of Object.entries(document.collections)) {
      const values = [...new Set(collections.flatMap((each) => known[each] ?? [""]))].sort();
      const numbers = new Map(values.map((value, number) => [value, number]));
      const ofCell = document.cells.map((cell) => (known[collections[cell[0]]] ?? [""]).map((value) => numbers.get(value)));
      this.facets[name] = { values, ...flat(ofCell) };
    }
    this.own = [0, 1, 2].map((part) => Float64Array.from(document.sums, (each) => each[part]));
    this.sets = [document.patients, document.studies].map((several) => ({
      ...flat(several.map((each) => each[0])),
      counts: Uint32Array.from(several, (each) => each[1]),
    }));
  }

  // `where`: facet → values; `cells`: what the server has counted of each cell, instead of everything.
  answer(where, cells = null) {
    const sums = cells === null ? this.own : this.spread(cells);
    const failed = new Uint8Array(this.size);
    const by = new Int8Array(this.size).fill(-1);
    FACETS.forEach((name, place) => {
      const wanted = where[name];
      if (!wanted?.length) return;
      const facet = this.facets[name];
      const allowed = new Uint8Array(facet.values.length);
      for (const value of wanted) {
        const number = facet.values.indexOf(value);
        if (number >= 0) allowed[number] = 1;
      }
      for (let cell = 0; cell < this.size; cell++) {
        let has = 0;
        for (let at = facet.starts[cell]; at < facet.starts[cell + 1]; at++) has |= allowed[facet.items[at]];
        if (!has) {
          failed[cell]++;
          by[cell] = place;
        }
      }
    });
    return { cube: this, sums, failed, by, isWhole: cells === null };
  }

  spread(cells) {
    const sums = [0, 1, 2].map(() => new Float64Array(this.size));
    for (const [cell, ...parts] of cells) parts.forEach((amount, part) => (sums[part][cell] = amount));
    return sums;
  }

  totals({ sums, failed, isWhole }) {
    const found = [0, 0, 0, 0, 0];
    for (let cell = 0; cell < this.size; cell++) {
      if (!failed[cell]) for (let part = 0; part < 3; part++) found[part + 2] += sums[part][cell];
    }
    if (isWhole) {
      this.sets.forEach(({ starts, items, counts }, place) => {
        for (let each = 0; each < counts.length; each++) {
          for (let at = starts[each]; at < starts[each + 1]; at++) {
            if (!failed[items[at]]) {
              found[place] += counts[each];
              break;
            }
          }
        }
      });
    }
    return Object.fromEntries(UNITS.map((unit, place) => [unit, found[place]]));
  }

  // Amounts of each value of a facet, under the filter of the others; value → amount, in the order of values.
  counts({ sums, failed, by }, name, unit) {
    const facet = this.facets[name];
    const place = FACETS.indexOf(name);
    const found = new Float64Array(facet.values.length);
    const isChosen = (cell) => failed[cell] === 0 || (failed[cell] === 1 && by[cell] === place);
    const part = UNITS.indexOf(unit) - 2;
    if (part >= 0) {
      for (let cell = 0; cell < this.size; cell++) {
        if (!isChosen(cell)) continue;
        for (let at = facet.starts[cell]; at < facet.starts[cell + 1]; at++) found[facet.items[at]] += sums[part][cell];
      }
      return found;
    }
    const { starts, items, counts } = this.sets[part + 2];
    const seen = new Int32Array(facet.values.length).fill(-1);
    for (let each = 0; each < counts.length; each++) {
      for (let member = starts[each]; member < starts[each + 1]; member++) {
        const cell = items[member];
        if (!isChosen(cell)) continue;
        for (let at = facet.starts[cell]; at < facet.starts[cell + 1]; at++) {
          const value = facet.items[at];
          if (seen[value] !== each) {
            seen[value] = each;
            found[value] += counts[each];
          }
        }
      }
    }
    return found;
  }
}

// Lists in one array: those of number n are between starts[n] and starts[n + 1].
function flat(lists) {
  const starts = new Uint32Array(lists.length + 1);
  lists.forEach((each, place) => (starts[place + 1] = starts[place] + each.length));
  const items = new Uint16Array(starts[lists.length]);
  lists.forEach((each, place) => items.set(each, starts[place]));
  return { starts, items };
}
