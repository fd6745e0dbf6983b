/** Whether a hint is a SQL statement to run, rather than text. */
export function isSql(hint: string): boolean {
  return /^\s*(?:ALTER|CREATE|DROP|GRANT|REVOKE|COMMENT)\s/i.test(hint);
}
