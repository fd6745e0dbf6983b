/** The statements of a SQL file, by Postgres's own grammar. */
import { hasSqlDetails, parse } from 'libpg-query';

export interface ViewName {
  readonly schema: string;
  readonly name: string;
}

export interface Statement {
  readonly sql: string;
  /** Where it begins in the file, in bytes, comments before it left out. */
  readonly start: number;
  /** What it makes, where it is a CREATE VIEW in schema `channels` or `channel_access`. */
  readonly view: ViewName | undefined;
  /** BEGIN, COMMIT, SAVEPOINT and so on. */
  readonly isTransaction: boolean;
}

export interface SyntaxFault {
  readonly message: string;
  /** Byte offset in the file. */
  readonly at: number;
}

const SCHEMAS: readonly (string | undefined)[] = ['channels', 'channel_access'];
/** White space and comments; a comment within a comment is left to be underlined. */
const BLANK = /^(?:\s+|--[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\/)+/;

export async function parseStatements(
  content: Buffer,
): Promise<{ readonly statements: readonly Statement[] } | SyntaxFault> {
  const text = content.toString('utf8');
  if (text.replace(BLANK, '') === '') return { statements: [] };
  try {
    const { stmts = [] } = await parse(text);
    return {
      statements: stmts.map(({ stmt, stmt_location: location = 0, stmt_len: length }) => {
        const whole = content.toString(
          'utf8',
          location,
          length === undefined || length === 0 ? content.length : location + length,
        );
        const sql = whole.replace(BLANK, '');
        return {
          sql,
          start: location + Buffer.byteLength(whole) - Buffer.byteLength(sql),
          view: viewOf(stmt),
          isTransaction: stmt !== undefined && 'TransactionStmt' in stmt,
        };
      }),
    };
  } catch (error) {
    if (!hasSqlDetails(error)) throw error;
    const position = error.sqlDetails?.cursorPosition ?? 0;
    return { message: error.message, at: Buffer.byteLength([...text].slice(0, position).join('')) };
  }
}

function viewOf(statement: object | undefined): ViewName | undefined {
  if (statement === undefined || !('ViewStmt' in statement)) return undefined;
  const { view } = statement.ViewStmt as { view?: { schemaname?: string; relname?: string } };
  const { schemaname: schema, relname: name } = view ?? {};
  return schema !== undefined && name !== undefined && SCHEMAS.includes(schema) ? { schema, name } : undefined;
}
