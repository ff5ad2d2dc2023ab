// Markup for all modules: preact's elements, written with htm's template strings.
import { h, render, Fragment, createContext } from "./preact.js";
import htm from "./htm.js";

export const html = htm.bind(h);
export { render, Fragment, createContext };
export {
    useState, useEffect, useLayoutEffect, useMemo, useRef, useCallback, useContext, useId, useErrorBoundary,
} from "./hooks.js";
