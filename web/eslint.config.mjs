// ESLint's rules for the dashboard's modules: what it recommends, and what else has turned out to be a fault. A rule that
// does not fit is changed here, for all: no comment in a module switches one off. Packages are those of the ESLint that
// reads this, wherever it was installed.
import { createRequire } from "node:module";

const take = createRequire(process.argv[1]);
const globals = take("globals");

// Properties of every window: who means a variable of their own and forgot it would get one of these.
const MISTAKABLE = ["blur", "close", "closed", "event", "external", "find", "focus", "frames", "length", "name", "open",
    "origin", "parent", "print", "scroll", "screen", "status", "stop", "top"];
// Markup is made by html`...` alone, which escapes what it is given.
const UNESCAPED = ["innerHTML", "outerHTML", "insertAdjacentHTML", "dangerouslySetInnerHTML", "setHTMLUnsafe"];

export default [
    take("@eslint/js").configs.recommended,
    {
        files: ["**/*.js"],
        languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals.browser },
        linterOptions: { noInlineConfig: true },
        rules: {
            "array-callback-return": "error",
            "consistent-return": "error",
            "default-case-last": "error",
            "eqeqeq": "error",
            "no-constructor-return": "error",
            "no-duplicate-imports": "error",
            "no-eval": "error",
            "no-implied-eval": "error",
            "no-new-func": "error",
            "no-promise-executor-return": "error",
            "no-restricted-globals": ["error", ...MISTAKABLE],
            "no-restricted-properties": ["error", ...UNESCAPED.map((property) => ({ property })),
                { object: "document", property: "write" }],
            "no-restricted-syntax": ["error", { selector: `Property[key.name=/^(${UNESCAPED.join("|")})$/]`,
                message: "html`...` escapes what it is given." }],
            "no-self-compare": "error",
            "no-shadow": "error",
            "no-template-curly-in-string": "error",
            "no-unmodified-loop-condition": "error",
            "no-unreachable-loop": "error",
            "no-unused-expressions": ["error", { allowShortCircuit: true, allowTernary: true }],
            "no-unused-vars": ["error", { argsIgnorePattern: "^_$", ignoreRestSiblings: true }],
            "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
            "no-useless-rename": "error",
            "no-var": "error",
            "prefer-const": "error",
            "strict": ["error", "never"],
        },
    },
    { files: ["**/live-worker.js"], languageOptions: { globals: globals.worker } },
    { files: ["**/*.mjs"], languageOptions: { globals: globals.node } },
];
