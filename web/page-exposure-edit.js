// placeholder
import { html } from "./html.js";
export const NewExposure = () => html`<p>later</p>`;
