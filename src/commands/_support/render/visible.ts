/** Control characters shown, not obeyed: a row of a database or a log line must not move the cursor or set colours. */
export const visible = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  text.replace(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]/g, (character) =>
    `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
