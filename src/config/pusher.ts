/** Settings of the endpoint for Pusher clients (docs/pusher.md). */
import { pusherName, text } from './forms.ts';
import { optional, secret } from './setting.ts';

export const PUSHER = {
  SNO_PUSHER_APP_ID: optional(
    pusherName,
    'Id of the app in the HTTP API for Pusher server libraries (`/apps/{id}/events`). Set all three, or none: then there is no endpoint for Pusher clients.',
  ),
  SNO_PUSHER_KEY: optional(
    pusherName,
    'Key of the app, which Pusher clients connect with (`/app/{key}`). It is public.',
  ),
  SNO_PUSHER_SECRET: secret(
    text,
    "Secret of the app. It signs the requests of the app's server, and the channels that its clients may join. Make it of at least 32 random characters.",
  ),
} as const;
