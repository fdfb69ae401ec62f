// A cohort in the address: facets by their names, other conditions as `where`, identifiers as `id`.

import { FACETS } from "/static/cube.js";

export const TITLES = {
  collection_id: "Collection", cancer_types: "Cancer type", Modality: "Modality", BodyPartExamined: "Body part", license_short_name: "Licence",
  Manufacturer: "Manufacturer", year: "Year of the study", origin: "Images or results", species: "Species",
};

export class Query {
  constructor(search = "") {
    const given = new URLSearchParams(search);
    this.facets = {};
    for (const name of FACETS) {
      const values = given.getAll(name);
      if (values.length) this.facets[name] = values;
    }
    this.where = given.getAll("where");
    this.id = given.getAll("id");
  }

  get isEmpty() {
    return !this.where.length && !this.id.length && !Object.keys(this.facets).length;
  }

  // Whether the cube does not know everything that is asked.
  get needsServer() {
    return this.where.length > 0 || this.id.length > 0;
  }

  copy() {
    return new Query(this.toString());
  }

  toggled(name, value) {
    const other = this.copy();
    const values = other.facets[name] ?? other[name] ?? [];
    const next = values.includes(value) ? values.filter((each) => each !== value) : [...values, value];
    if (name === "where" || name === "id") other[name] = next;
    else if (next.length) other.facets[name] = next;
    else delete other.facets[name];
    return other;
  }

  body() {
    return { ...this.facets, ...(this.where.length && { where: this.where }), ...(this.id.length && { id: this.id }) };
  }

  toString() {
    const given = new URLSearchParams();
    for (const [name, values] of Object.entries(this.body())) for (const value of values) given.append(name, value);
    return given.toString();
  }

  // What is chosen, for people: [name, value, how to show it].
  chips() {
    return [
      ...Object.entries(this.facets).flatMap(([name, values]) => values.map((value) => [name, value, `${TITLES[name]}: ${value || "(empty)"}`])),
      ...this.where.map((value) => ["where", value, value]),
      ...this.id.map((value) => ["id", value, value]),
    ];
  }
}

export const addressOf = (page, query) => (query.isEmpty ? `/${page}` : `/${page}?${query}`);
