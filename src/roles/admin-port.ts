/** The admin port of a process: its server, and the inspector that answers the server's API. */
import { fileURLToPath } from 'node:url';
import { Admin } from '../admin/admin.ts';
import { VERSION } from '../metrics/version.ts';
import type { Composition, CompositionOptions } from './composition.ts';
import { Inspector, type InspectorOptions } from './inspect/inspector.ts';

/** The parts of the service that the admin port reads. */
export interface AdminPortOptions
  extends Pick<
      CompositionOptions,
      'settings' | 'databaseUrl' | 'pool' | 'logger' | 'certificate' | 'incidents' | 'running'
    >,
    Pick<InspectorOptions, 'sources' | 'unready'> {
  readonly metrics: Composition['metrics'];
}

const PAGE_FOLDER = fileURLToPath(new URL('../../dist/admin/page', import.meta.url));

export class AdminPort {
  readonly #inspector: Inspector;
  readonly #admin: Admin;

  constructor(options: AdminPortOptions) {
    const { settings, certificate, running } = options;
    this.#inspector = new Inspector({
      ...options,
      version: VERSION,
      view: () => running.view,
      certificateExpiresAt: () => certificate?.expiresAt,
    });
    this.#admin = new Admin({
      ...options,
      unready: () => options.unready()?.text,
      host: settings.SNO_ADMIN_HOST,
      port: settings.SNO_ADMIN_PORT,
      token: settings.SNO_ADMIN_TOKEN,
      source: this.#inspector,
      pageFolder: PAGE_FOLDER,
    });
  }

  /** Resolves with the port. Throws a SnoError if the address is in use or refused. */
  async listen(): Promise<number> {
    return (await this.#admin.start()).port;
  }

  async stop(): Promise<void> {
    await this.#admin.close();
    await this.#inspector.stop();
  }
}
