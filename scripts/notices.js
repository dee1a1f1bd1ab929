import {existsSync, readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'

/** The licence texts of every package whose code is in the bundles (their licences ask for them), from esbuild's metafiles. */
export function thirdPartyNotices(root, metafiles) {
  const folders = new Set()
  for (const {inputs} of metafiles.filter(Boolean)) {
    for (const path of Object.keys(inputs)) {
      const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)
      if (match) folders.add(match[1])
    }
  }
  const texts = [...folders].sort().map((folder) => {
    const {name, version, license} = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
    const file = readdirSync(join(root, folder)).find((entry) => /^(licen[cs]e|copying)/i.test(entry))
    const text = file && existsSync(join(root, folder, file)) ? readFileSync(join(root, folder, file), 'utf8').trim() : `Licence: ${license}`
    return `${name} ${version} (${license})\n\n${text}\n`
  })
  return `dbaas contains code of the following packages.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`
}
