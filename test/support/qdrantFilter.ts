import { badFormat, type Id, invalidBody, isObject, type Json, parseId } from './qdrantRules.ts';

export interface FilterablePoint {
  id: Id;
  payload: Json;
}

export type Predicate = (point: FilterablePoint) => boolean;

const CLAUSES = ['should', 'min_should', 'must', 'must_not'];

/** Qdrant's filter: must, must_not, should over match, range, has_id, is_empty, is_null and nested filters. */
export function parseFilter(filter: unknown): Predicate {
  if (filter === undefined || filter === null) return () => true;
  if (!isObject(filter)) throw badFormat('invalid type: expected struct Filter');
  for (const key of Object.keys(filter))
    if (!CLAUSES.includes(key))
      throw badFormat(
        `unknown field \`${key}\`, expected one of ${CLAUSES.map((name) => `\`${name}\``).join(', ')}`,
      );
  if (filter.min_should !== undefined) throw new Error('The double does not know min_should.');
  const [must, mustNot, should] = (['must', 'must_not', 'should'] as const).map((clause) =>
    [filter[clause] ?? []].flat().map((condition, i) => parseCondition(condition, `${clause}[${i}]`)),
  ) as [Predicate[], Predicate[], Predicate[]];
  return (point) =>
    must.every((holds) => holds(point)) &&
    !mustNot.some((holds) => holds(point)) &&
    (should.length === 0 || should.some((holds) => holds(point)));
}

function parseCondition(condition: unknown, place: string): Predicate {
  if (!isObject(condition)) throw badFormat('data did not match any variant of untagged enum Condition');
  if (Array.isArray(condition.has_id)) {
    const ids = new Set(condition.has_id.map(parseId));
    return (point) => ids.has(point.id);
  }
  if (isObject(condition.is_empty)) {
    const { key } = condition.is_empty;
    return (point) => valuesAt(point.payload, String(key)).every((value) => value === null);
  }
  if (isObject(condition.is_null)) {
    const { key } = condition.is_null;
    return (point) => valuesAt(point.payload, String(key)).some((value) => value === null);
  }
  if (typeof condition.key !== 'string') return parseFilter(condition);
  const { key } = condition;
  const tests: ((value: unknown) => boolean)[] = [];
  if (isObject(condition.match)) tests.push(parseMatch(condition.match));
  if (isObject(condition.range)) tests.push(parseRange(condition.range));
  if (tests.length === 0)
    throw invalidBody(
      `internal.filter.${place}.__all__: Validation error: At least one field condition must be specified [{}]`,
    );
  return (point) => valuesAt(point.payload, key).some((value) => tests.some((test) => test(value)));
}

function parseMatch(match: Json): (value: unknown) => boolean {
  if ('value' in match) return (value) => value === match.value;
  if (Array.isArray(match.any)) return (value) => (match.any as unknown[]).includes(value);
  if (Array.isArray(match.except)) return (value) => !(match.except as unknown[]).includes(value);
  throw new Error('The double knows match by value, any and except.');
}

function parseRange({ gt, gte, lt, lte }: Json): (value: unknown) => boolean {
  return (value) =>
    typeof value === 'number' &&
    (typeof gt !== 'number' || value > gt) &&
    (typeof gte !== 'number' || value >= gte) &&
    (typeof lt !== 'number' || value < lt) &&
    (typeof lte !== 'number' || value <= lte);
}

/** Values under a dotted path; each item of an array counts. */
function valuesAt(payload: Json, path: string): unknown[] {
  let values: unknown[] = [payload];
  for (const step of path.split('.'))
    values = values
      .flat()
      .filter(isObject)
      .filter((value) => Object.hasOwn(value, step))
      .map((value) => value[step]);
  return values.flat();
}
