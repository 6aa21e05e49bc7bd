/// Lets a value with pointers enter the blocks of `ParallelBlocks`. The blocks read it, or write disjoint parts of what it
/// points to, and are done before the owner goes on.
struct Shared<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
