/** Optimal string alignment distance (Damerau-Levenshtein without repeated edits), for "did you mean". */
export function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({length: b.length + 1}, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min((rows[i - 1] as number[])[j]! + 1, row[j - 1]! + 1, (rows[i - 1] as number[])[j - 1]! + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (rows[i - 2] as number[])[j - 2]! + 1)
      }
      row.push(best)
    }
    rows.push(row)
  }
  return (rows[a.length] as number[])[b.length] as number
}

/**
 * The candidate closest to `word`, if it is close enough to be what was meant (a third of its length, at least 2). The
 * beginning of a longer word (three letters or more) means that word: `prot` is `protect`, not `port`.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const all = [...candidates]
  const begun = word.length < 3 ? [] : all.filter((candidate) => candidate.toLowerCase().startsWith(word.toLowerCase()))
  if (begun.length > 0) return begun.reduce((a, b) => (b.length < a.length ? b : a))
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of all) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}
