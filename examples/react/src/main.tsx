// Run it: apply schema.sql, start Snö with SNO_ALLOWED_ORIGINS=http://localhost:5173, and here
// VITE_SNO_URL=https://localhost:8443 npm run dev
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { SnoProvider, sno } from './sno';

createRoot(document.querySelector('#root') as HTMLElement).render(
  <StrictMode>
    <SnoProvider client={sno}>
      <App />
    </SnoProvider>
  </StrictMode>,
);
