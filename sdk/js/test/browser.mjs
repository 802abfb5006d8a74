// Opens the page of test/sdk in a browser and prints what it found out, as JSON.
import { chromium } from 'playwright-core'

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] })
try {
  const page = await browser.newPage()
  const said = []
  page.on('console', m => said.push(m.text()))
  page.on('pageerror', err => said.push(String(err)))
  await page.goto(process.argv[2])
  try {
    await page.waitForFunction('globalThis.outcome !== undefined', undefined, { timeout: 60_000 })
  } catch (err) {
    throw new Error(`${err.message}\n${said.join('\n')}`)
  }
  console.log(JSON.stringify(await page.evaluate('globalThis.outcome')))
} finally {
  await browser.close()
}
