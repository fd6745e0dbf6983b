/** Splits a SQL file into its statements, with Postgres's own grammar. */
import { hasSqlDetails, parse } from 'libpg-query';
import { ACCESS_SCHEMAS } from '../catalog/catalog.ts';

export interface ViewName {
  readonly schema: string;
  readonly name: string;
}

export interface Statement {
  readonly sql: string;
  /** Its start in the file, in bytes, after any comments before it. */
  readonly start: number;
  /** The view that it creates, if it is a CREATE VIEW in one of Snö's schemas of views. */
  readonly view: ViewName | undefined;
  /** Set if it begins, ends or divides a transaction: TRANS_STMT_BEGIN and so on. */
  readonly transaction: TransactionKind | undefined;
  /** Whether it only changes a setting, as SET and RESET do. */
  readonly isSetting: boolean;
}

export interface SyntaxFault {
  readonly message: string;
  /** Byte offset in the file. */
  readonly at: number;
}

export type TransactionKind = 'begin' | 'commit' | 'rollback' | 'other';

const KINDS: Readonly<Record<string, TransactionKind>> = {
  TRANS_STMT_BEGIN: 'begin',
  TRANS_STMT_START: 'begin',
  TRANS_STMT_COMMIT: 'commit',
  TRANS_STMT_ROLLBACK: 'rollback',
};

const SCHEMAS: readonly (string | undefined)[] = ['channels', ...ACCESS_SCHEMAS];
/** White space and comments. Nested comments are not matched, so an error may underline one. */
const BLANK = /^(?:\s+|--[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\/)+/;

export async function parseStatements(
  content: Buffer,
): Promise<{ readonly statements: readonly Statement[] } | SyntaxFault> {
  for (let text = content; ; ) {
    const parsed = await parseText(text);
    if ('statements' in parsed) return parsed;
    const without = withoutCommand(text, parsed.at);
    if (without === undefined) return parsed;
    text = without;
  }
}

const BACKSLASH = 0x5c;
/** psql's settings, with which migrations often begin. */
const HARMLESS = /^\\(?:set\s+(?:ON_ERROR_STOP|ON_ERROR_ROLLBACK|ECHO|QUIET|VERBOSITY)|timing|pset)\b/i;

/**
 * The content with blanks in place of the psql command that begins at `at`. Undefined if there is
 * no command, or it has an effect.
 */
function withoutCommand(content: Buffer, at: number): Buffer | undefined {
  if (content[at] !== BACKSLASH) return undefined;
  const newline = content.indexOf(0x0a, at);
  const end = newline === -1 ? content.length : newline;
  if (!HARMLESS.test(content.toString('utf8', at, end).trimEnd())) return undefined;
  return Buffer.concat([content.subarray(0, at), Buffer.alloc(end - at, ' '), content.subarray(end)]);
}

async function parseText(content: Buffer): Promise<{ readonly statements: readonly Statement[] } | SyntaxFault> {
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
          transaction: transactionOf(stmt),
          isSetting: stmt !== undefined && 'VariableSetStmt' in stmt,
        };
      }),
    };
  } catch (error) {
    if (!hasSqlDetails(error)) throw error;
    const position = error.sqlDetails?.cursorPosition ?? 0;
    return { message: error.message, at: Buffer.byteLength([...text].slice(0, position).join('')) };
  }
}

function transactionOf(statement: object | undefined): TransactionKind | undefined {
  if (statement === undefined || !('TransactionStmt' in statement)) return undefined;
  const { kind, chain } = statement.TransactionStmt as { kind?: string; chain?: boolean };
  if (chain === true) return 'other';
  return KINDS[kind ?? ''] ?? 'other';
}

function viewOf(statement: object | undefined): ViewName | undefined {
  if (statement === undefined || !('ViewStmt' in statement)) return undefined;
  const { view } = statement.ViewStmt as { view?: { schemaname?: string; relname?: string } };
  const { schemaname: schema, relname: name } = view ?? {};
  return schema !== undefined && name !== undefined && SCHEMAS.includes(schema) ? { schema, name } : undefined;
}
