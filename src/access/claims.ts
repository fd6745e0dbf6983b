/** How a claim is matched with a column of an access view. */

/**
 * The texts that a claim matches: a string itself, a number or boolean as JSON prints it, an array its elements.
 * Empty where it matches nothing: no such claim, null, an object.
 */
export function claimTexts(claim: unknown): readonly string[] {
  const texts: string[] = [];
  for (const item of Array.isArray(claim) ? claim : [claim]) {
    if (typeof item === 'string') texts.push(item);
    else if (typeof item === 'number' || typeof item === 'boolean') texts.push(String(item));
  }
  return texts;
}
