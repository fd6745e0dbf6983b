/** Finds the names that a function's body looks up by the search_path, without running it. */
import { type Node, parsePlPgSQLSync, type TypeName } from 'libpg-query';
import { nameOf, walk } from '../../channels/sql/node.ts';
import { parseSql } from '../../channels/sql/parse.ts';

export interface LookedUp {
  readonly functions: ReadonlySet<string>;
  readonly operators: ReadonlySet<string>;
  readonly relations: ReadonlySet<string>;
  readonly types: ReadonlySet<string>;
}

/**
 * `definition`: the output of pg_get_functiondef. `body`: prosrc. Returns no names for other
 * languages and for a body that cannot be parsed.
 */
export function lookedUp(language: string, definition: string, body: string): LookedUp {
  const found = {
    functions: new Set<string>(),
    operators: new Set<string>(),
    relations: new Set<string>(),
    types: new Set<string>(),
  };
  for (const sql of statementsOf(language, definition, body)) collect(sql, found);
  return found;
}

function statementsOf(language: string, definition: string, body: string): readonly string[] {
  if (language === 'sql') return [body];
  return language === 'plpgsql' ? expressionsOf(definition) : [];
}

/**
 * An expression in the parse tree of plpgsql. `parseMode`: 0 is a statement, 2 an expression, 3 and
 * more an assignment.
 */
interface Expression {
  readonly query?: string;
  readonly parseMode?: number;
}

function expressionsOf(definition: string): readonly string[] {
  const found: string[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, member] of Object.entries(value)) {
      if (name === 'PLpgSQL_expr') {
        const { query = '', parseMode = 0 } = member as Expression;
        if (parseMode === 0) found.push(query);
        else if (parseMode === 2) found.push(`select ${query}`);
        else if (parseMode > 2) found.push(`select ${query.replace(/^.*?:?=/s, '')}`);
      } else visit(member);
    }
  };
  try {
    visit(parsePlPgSQLSync(definition));
  } catch {
    // a body that cannot be parsed gets no verdict
  }
  return found;
}

type Found = { readonly [Kind in keyof LookedUp]: Set<string> };

interface Parts {
  readonly funcname?: Node[];
  readonly name?: Node[];
  readonly kind?: string;
  readonly typeName?: TypeName;
  readonly schemaname?: string;
  readonly relname?: string;
  readonly ctename?: string;
}

function collect(sql: string, found: Found): void {
  const relations = new Set<string>();
  const withQueries = new Set<string>();
  try {
    for (const statement of parseSql(sql)) {
      walk(statement, (kind, inner) => {
        const { funcname, name, kind: form, typeName, schemaname, relname, ctename } = inner as Parts;
        if (kind === 'FuncCall' && funcname?.length === 1) found.functions.add(nameOf(funcname));
        if (kind === 'A_Expr' && form === 'AEXPR_OP' && name?.length === 1) found.operators.add(nameOf(name));
        if (typeName?.names?.length === 1 && typeName.pct_type !== true) found.types.add(nameOf(typeName.names));
        if (kind === 'RangeVar' && schemaname === undefined && relname !== undefined) relations.add(relname);
        if (kind === 'CommonTableExpr' && ctename !== undefined) withQueries.add(ctename);
      });
    }
  } catch {
    return;
  }
  for (const relation of relations) if (!withQueries.has(relation)) found.relations.add(relation);
}
