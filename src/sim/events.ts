/** What happens in a simulation. Subjects: a request, a batch, a pipeline or an incident, by its index. */
export const EVENT = {
  /** A request comes. */
  arrive: 0,
  /** Its session is open on all stages. */
  opened: 1,
  /** A batch comes to a stage. */
  receive: 2,
  /** A stage has computed a batch. */
  computed: 3,
  /** A batch's tokens come to the coordinator. */
  result: 4,
  /** The coordinator hears that the first stage has room. */
  room: 5,
  /** An incident begins, is known, is over. */
  incident: 6,
  notice: 7,
  resume: 8,
  /** A batch leaves the coordinator; in the log only. */
  depart: 9,
} as const;
