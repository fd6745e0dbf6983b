/** The columns that the expressions of a view may name. */
import type { CatalogTableColumn } from '../../catalog/catalog.ts';

/** A table under its alias in the view. */
export interface NamedTable {
  readonly alias: string;
  readonly columns: readonly CatalogTableColumn[];
}

export class Scope {
  readonly #tables: readonly NamedTable[];

  constructor(tables: readonly NamedTable[]) {
    this.#tables = tables;
  }

  /** Whether a reference with this qualifier is a column of one of the tables. */
  names(qualifier: string | undefined): boolean {
    return qualifier === undefined || this.#tables.some(({ alias }) => alias === qualifier);
  }

  column(qualifier: string | undefined, name: string): CatalogTableColumn | undefined {
    for (const { alias, columns } of this.#tables) {
      const column =
        qualifier === undefined || qualifier === alias ? columns.find((each) => each.name === name) : undefined;
      if (column !== undefined) return column;
    }
    return undefined;
  }
}
