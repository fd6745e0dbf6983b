/** Whether a hint is SQL that ends what it is about, and not words. */
export function isSql(hint: string): boolean {
  return /^\s*(?:ALTER|CREATE|DROP|GRANT|REVOKE|COMMENT)\s/i.test(hint);
}
