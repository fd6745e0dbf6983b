import { connect } from '@sno-realtime/client';
import { createHooks } from '@sno-realtime/client/react';
import type { Channels } from './channels';

/** Without VITE_SNO_URL the page connects to its own host. */
export const sno = connect<Channels>(import.meta.env.VITE_SNO_URL, { lazy: true });

export const { SnoProvider, useLive, usePresence, useRow, useStatus } = createHooks<Channels>();
