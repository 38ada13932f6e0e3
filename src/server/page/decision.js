// decision.js: under each answer, why this model answered and what it cost.

import {bar, bytes, duration, element} from '/page/dom.js';

function row(list, name, ...value) {
  list.append(element('dt', {}, name), element('dd', {}, ...value));
}

function probabilities(list, intent) {
  for (const [label, p] of Object.entries(intent.probabilities).sort((a, b) => b[1] - a[1]))
    row(list, label, bar(p, label), `${(100 * p).toFixed(1)} %`);
  row(list, 'entropy', `${intent.entropy.toFixed(3)} nats${intent.calibrated ? ', calibrated' : ''}${intent.windowed ? ', of a part of the conversation' : ''}`);
}

function costs(list, told) {
  const {overhead, reply} = told.receipt;
  const phases = [['template', overhead.template_ms], ['prefill', overhead.prefill_ms], ['decide', overhead.decide_ms], ['switch', overhead.switch_ms]]
    .filter(([, ms]) => ms > 0).map(([name, ms]) => `${name} ${duration(ms)}`);
  row(list, 'decided in', `${duration(overhead.total_ms)}${phases.length > 0 ? ` (${phases.join(', ')})` : ''}`);
  if (told.receipt.cost > 0) row(list, 'cost', told.receipt.cost.toPrecision(3));
  if (!reply) return;
  row(list, 'waited', duration(reply.queue_ms));
  row(list, 'prompt', `${reply.prompt_tokens} tokens in ${duration(reply.prefill_ms)}, ${reply.cached_tokens} of them from the cache`);
  row(list, 'answer', `${reply.reply_tokens} tokens in ${duration(reply.decode_ms)}, ${reply.steps} steps`);
  row(list, 'lookup', reply.drafted > 0 ? `${reply.accepted} of ${reply.drafted} drafted tokens accepted` : `${told.plan.lookup}, nothing drafted`);
  row(list, 'read', `${bytes(reply.weight_bytes)} of weights, ${bytes(reply.kv_bytes)} of keys and values`);
}

function summary(message) {
  const {plan, told, timings} = message;
  const kind = told?.intent?.label ?? plan.intent;
  const parts = [kind ? `${kind} → ` : '', element('b', {}, plan.model)];
  const why = plan.fallback ? `fallback: ${plan.fallback.replaceAll('_', ' ')}` : plan.rule && plan.rule !== kind ? plan.rule : '';
  if (why) parts.push(` · ${why}`);
  if (told) parts.push(` · decided in ${duration(told.receipt.overhead.total_ms)}`);
  if (timings?.predicted_n > 1) parts.push(` · ${timings.predicted_per_second.toFixed(timings.predicted_per_second < 10 ? 1 : 0)} tokens/s`);
  return element('summary', {}, parts);
}

export function decision(message) {
  if (!message.plan?.model) return null;
  const list = element('dl');
  const told = message.told;
  if (told?.intent) probabilities(list, told.intent);
  const success = told?.success?.probability ?? told?.plan?.success;
  if (typeof success === 'number') row(list, 'success', bar(success, 'success'), `${(100 * success).toFixed(0)} % that the small model is right`);
  if (told) row(list, 'rule', told.plan.reason);
  if (told) costs(list, told);
  return element('details', {class: 'decision'}, summary(message), list);
}
