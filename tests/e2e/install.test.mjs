// `make install`: what lands where, that it works from there, and that `make uninstall` leaves nothing.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { program, root, temporaryFolder } from './helper.mjs';

const files = (folder) => fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => path.join(entry.path, entry.name));

test('installed, it answers with the demo pair; completion knows commands and options; uninstalled, nothing is left', { skip: program !== path.join(root, 'build/a-io') && 'another program is tested' }, (t) => {
  const folder = temporaryFolder(t);
  const make = (goal) => spawnSync('make', ['--no-print-directory', goal, `DESTDIR=${folder}`, 'PREFIX=/usr'], { cwd: root, encoding: 'utf8', env: { ...process.env, MAKEFLAGS: '', MAKELEVEL: '' } });
  const installed = make('install');
  assert.equal(installed.status, 0, installed.stderr);
  const bin = path.join(folder, 'usr/bin');
  const route = spawnSync(path.join(bin, 'a-io'), ['route', '--json', 'What is 3 plus 4?'], { cwd: folder, encoding: 'utf8' });
  assert.equal(route.status, 0, route.stderr);
  assert.equal(JSON.parse(route.stdout).intent.label, 'math');
  const replay = () => spawnSync(path.join(bin, 'a-io'), ['replay', '--scenario', 'A', '--requests', '2', '--policies', 'small'], { cwd: folder, encoding: 'utf8' });
  assert.match(replay().stdout, /scenario A, 2 requests/);
  fs.rmSync(path.join(folder, 'usr/share/a-io/models/demo/tasks.jsonl'));
  const without = replay();
  assert.equal(without.status, 3);
  assert.match(without.stderr, /no built-in tasks: models\/demo\/tasks\.jsonl/);
  assert.match(fs.readFileSync(path.join(folder, 'usr/lib/systemd/system/a-io.service'), 'utf8'), /ExecStart=\/usr\/bin\/a-io serve/);
  const complete = (line, at) => spawnSync('bash', ['-c', `. ${folder}/usr/share/bash-completion/completions/a-io; COMP_WORDS=(${line}); COMP_CWORD=${at}; _a_io; printf '%s\\n' "\${COMPREPLY[@]}"`],
    { encoding: 'utf8', env: { ...process.env, PATH: `${bin}:${process.env.PATH}` } }).stdout.trim().split('\n');
  assert.deepEqual(complete('a-io ro', 1), ['route']);
  assert.ok(complete('a-io serve --po', 2).includes('--policy') && complete('a-io serve --po', 2).includes('--port'));
  assert.equal(make('uninstall').status, 0);
  assert.deepEqual(files(folder), []);
});

test("the unit's box is as tight as docs/running.md says", { skip: spawnSync('systemd-analyze', ['--version']).status !== 0 && 'there is no systemd-analyze' }, (t) => {
  const unit = path.join(temporaryFolder(t), 'a-io.service');
  fs.writeFileSync(unit, fs.readFileSync(path.join(root, 'tools/install/a-io.service'), 'utf8').replace('@PREFIX@', '/usr'));
  const judged = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', '--threshold=14', unit], { encoding: 'utf8' });
  assert.equal(judged.status, 0, judged.stdout + judged.stderr);
});

// ---- completion ------------------------------------------------------------------------------------

const has = (shell) => spawnSync(shell, ['-c', 'true']).status === 0;
const withProgram = { ...process.env, PATH: `${path.dirname(program)}:${process.env.PATH}`, TERM: 'xterm' };

test("fish's completion loads, and knows commands and options", { skip: !has('fish') && 'there is no fish' }, () => {
  const complete = (line) => spawnSync('fish', ['--no-config', '-c', `source ${root}/tools/install/a-io.fish; complete -C '${line}'`],
    { encoding: 'utf8', env: withProgram }).stdout.split('\n').map((one) => one.split('\t')[0]);
  assert.ok(complete('a-io ').includes('serve') && complete('a-io ').includes('route'));
  assert.ok(complete('a-io serve --po').includes('--policy') && complete('a-io serve --po').includes('--port'));
});

test("zsh's completion loads, and knows commands and options", { skip: !has('zsh') && 'there is no zsh' }, (t) => {
  const dump = path.join(temporaryFolder(t), 'dump');
  // A terminal of its own, in which somebody types.
  const script = `
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=(${root}/tools/install \$fpath); autoload -Uz compinit; compinit -u -d ${dump}; LISTMAX=0; stty cols 200; print rea''dy"
zpty -r -m shell out '*ready*'
zpty -w -n shell $'a-io rou\t'
zpty -r -m shell out '*route*'
zpty -w -n shell $'--\t'
zpty -r -m shell out '*--threads*'
print -r -- "$out"`;
  const { stdout } = spawnSync('zsh', ['-f', '-c', script], { encoding: 'utf8', env: withProgram, timeout: 60000 });
  assert.match(stdout, /--policy/);
});
