/// Where the planes of a table are while the process runs.
public enum TableMemory: Sendable, Hashable {
    /// Memory of the process, in huge pages where the system has them.
    case anonymous
    /// Files without a name in this directory, which end with the process: the system keeps in memory what is used, and writes
    /// the rest to the disk. So a table may be larger than the memory.
    case files(in: String)
}
