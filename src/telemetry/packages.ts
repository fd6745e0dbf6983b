/** Packages that are loaded only when a setting asks for them. */
import { SnoError } from '../errors.ts';

/** Loads a package. Throws `package_missing` if it is not installed. */
export async function loaded<Module>(
  setting: string,
  packages: readonly string[],
  load: () => Promise<Module>,
): Promise<Module> {
  try {
    return await load();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause;
    throw new SnoError('package_missing', `${setting} needs packages that are not installed`, {
      hint: `Run: npm install ${packages.join(' ')}; or unset ${setting}.`,
      cause,
    });
  }
}
