/// Everything that decides the result of a run, and nothing else: two runs with equal configurations and equal data end
/// in the same bits, whatever processes computed them.
///
/// One YAML file describes it; `docs/configuration.md` documents every key. An empty string or a zero means "not set"
/// where a key says so.
public struct RunConfiguration: Codable, Sendable, Hashable {
    /// Key of every random number of the run.
    public var seed: UInt64 = 1
    /// What the run promises of its result: `exact`, that it is a function of configuration and data; or `logged`, that it is a function of
    /// what was logged of the committed attempts, because attempts of a step may differ. Nil is `exact`.
    public var determinism: String? = "exact"
    /// Directory for the backbone, the metrics and the plots.
    public var output = "run"
    public var data = Data()
    public var backbone = Backbone()
    public var head = Head()
    public var batch = Batch()
    public var optimizer = Optimizer()
    public var schedule = Schedule()
    public var evaluation = Evaluation()
    public var checkpoint = Checkpoint()
    public var cluster = Cluster()

    /// The defaults, as an empty file gives them.
    public init() { forgetValuesBefore() }

    /// The defaults with a value for every key, those that are left out of what is stored too.
    static let withEveryKey = RunConfiguration(everyKey: ())

    private init(everyKey: Void) {}

    /// This configuration with what is up to the run decided, as it is stored.
    ///
    /// - Parameter stored: that of the run, or of the checkpoint, that it goes on with; nil for a new one.
    public func decided(like stored: RunConfiguration?) -> RunConfiguration {
        var copy = self
        if backbone.compute == "auto" {
            copy.backbone.compute = if let stored { stored.backbone.compute } else { Head.openCompute }
        }
        if head.sampling == 0 { copy.head.sampling = if let stored { stored.head.sampling } else { 2 } }
        if head.compute == "auto" {
            if let stored {
                copy.head.compute = stored.head.compute
            } else if head.storage == "bf16" {
                copy.head.compute = Head.openCompute
            }
        }
        return copy
    }

    /// Where samples come from.
    public struct Data: Codable, Sendable, Hashable {
        /// `rec`, `folder`, `glyphs`, `features` (stored embeddings: the head alone is trained), or `external` (a job from outside has
        /// them, and the network).
        public var kind = "glyphs"
        /// The folder of `train.rec`, the folder of identities, the glyph cache, or the safetensors file.
        public var path = ""
        /// Height of the images that the backbone sees, in pixels.
        public var imageSize = 32
        /// Their width; 0, or nil, for the same as the height.
        public var imageWidth: Int? = 0
        /// 1 for gray, 3 for colour.
        public var channels = 1
        /// Uses the first so many identities only; 0 for all.
        public var maximumClasses = 0
        /// Uses identities with at least so many images.
        public var minimumImages = 1
        /// Identities held out from training for verification (the last ones of a keyed permutation); glyph caches bring
        /// their own.
        public var heldOutClasses = 0
        /// Mirrors images at random: right for faces, wrong for characters.
        public var flip = false
        /// Shifts images at random by up to so many pixels.
        public var shift = 0
        /// Further random changes of training images: names, each perhaps with `=` and a probability; nil for none.
        public var augment: [String]? = []
        /// What a corrupt image does: `skip` or `fail`.
        public var corruptImages = "skip"
        /// Number of classes trained; 0 to read it from the data.
        public var classes = 0
        /// Number of samples; 0 to read it from the data.
        public var samples = 0
        /// Fingerprint of the samples that workers must find; empty to read it from the data.
        public var fingerprint = ""

        /// Width of the images that the backbone sees, in pixels.
        public var width: Int { imageWidth.flatMap { $0 == 0 ? nil : $0 } ?? imageSize }
    }

    /// The network that makes embeddings.
    public struct Backbone: Codable, Sendable, Hashable {
        /// One of `BackboneConfiguration.names`, `none` for stored features, or `external` for that of a job from outside.
        public var name = "iresnet-small"
        /// D: length of an embedding.
        public var embeddingSize = 128
        /// Blocks of each stage; empty for those of `name`.
        public var depths: [Int] = []
        /// Channels of each stage; empty for those of `name`.
        public var widths: [Int] = []
        /// Number of dense slices into which the parameters are cut.
        public var denseSlices = 16
        /// A safetensors file with InsightFace's parameter names to start from, or an ONNX file with a network of any kind, which is then
        /// the one that is trained; empty for random values.
        public var initial = ""
        /// What tells the network of an ONNX file from others; filled in when a run begins. Nil for none.
        public var graph: String? = ""
        /// Names of parameters that are not trained, `*` standing for any characters; nil for none.
        public var frozen: [String]? = []
        /// What convolutions and linear layers are trained in: `f32`, `bf16`, or `auto`; nil for `f32`.
        public var compute: String? = "f32"
        /// How gradients of the parameters are sent and logged: `f32` or `bf16`; nil for `f32`.
        public var exchangeGradients: String? = "f32"
        /// The probability with which a dropout layer makes a number 0 in training; nil for 0.
        public var dropout: Double? = 0
    }

    /// The class centers and the loss.
    public struct Head: Codable, Sendable, Hashable {
        /// s: scale of the logits.
        public var scale: Float = 64
        /// m1, m2, m3 of cos(m1·θ + m2) − m3.
        public var m1: Float = 1
        public var m2: Float = 0.5
        public var m3: Float = 0
        /// Cosines above this are ignored for other classes than the target; 0 switches it off.
        public var interclassFilter: Float = 0
        /// r: fraction of the classes that take part in a step.
        public var sampleRate: Double = 0.1
        /// How the rate is shared out among slices: 2, or nil for the first rule, 1. 0: 2 in a new run, as before in one that goes
        /// on.
        public var sampling: Int? = 0
        /// N: number of slices, a power of two.
        public var slices = 16
        /// `features`, `rows`, or `auto`.
        public var exchange = "auto"
        /// How rows travel in the exchange `rows`: `f32`, `bf16`, `int8`, or `auto`.
        public var exchangeRows = "auto"
        /// How gradients of rows travel in the exchange `rows`: `f32` or `bf16`.
        public var exchangeGradients = "f32"
        /// How class centers are kept: `f32` or `bf16`.
        public var storage = "f32"
        /// How the momentum of SGD is kept for them: `f32`, `bf16`, `int8`, or `none`.
        public var momentumStorage = "f32"
        /// How updates are rounded into fewer bits: `stochastic` or `nearest`.
        public var rounding = "stochastic"
        /// What products are computed in: `f32`, `fma`, `bf16`, or `auto`. In a stored configuration `auto` is bf16 where rows are.
        public var compute = "auto"
        /// `compute` of a stored run, here or in `backbone`, whose first member is still to decide it.
        public static let openCompute = "open"
        /// A safetensors file with `centers`, and perhaps the optimiser's planes, to start from; empty for random ones.
        public var initial = ""
        /// A safetensors file whose `sampled` replaces random negatives in every step; empty for random ones.
        public var sampled = ""
    }

    /// How the global batch is made up.
    public struct Batch: Codable, Sendable, Hashable {
        /// B: samples of the global batch.
        public var size = 128
        /// g: samples of a micro-batch; divides B. Batch normalisation uses the statistics of one micro-batch.
        public var microBatch = 32
    }

    /// What changes class centers and backbone by their gradients. What is nil has its default, with SGD.
    public struct Optimizer: Codable, Sendable, Hashable {
        /// `sgd` or `adamw`.
        public var name: String? = "sgd"
        /// Of SGD.
        public var momentum: Float = 0.9
        /// β₁ and β₂ of AdamW.
        public var betas: [Double]? = [0.9, 0.999]
        /// ε of AdamW.
        public var epsilon: Double? = 1e-8
        /// How the moments of AdamW are kept: `f32` or `bf16`.
        public var moments: String? = "f32"
        public var weightDecay: Float = 5e-4
        /// What of the backbone decays: `all` or `weights`.
        public var decay: String? = "all"
        /// The backbone's gradient is scaled down to this norm; 0 switches it off.
        public var clipNorm: Double = 5
        /// What a step with a NaN or an infinity does: `skip` (it changes nothing and is counted) or `stop` (the run fails).
        public var notFinite = "skip"
        /// The run fails after so many skipped steps in a row; 0 for no limit.
        public var notFiniteLimit = 10
    }

    /// Number of steps, the learning rate, and values of the head that change.
    public struct Schedule: Codable, Sendable, Hashable {
        /// Passes over the data; used if `steps` is 0.
        public var epochs: Double = 2
        /// Number of steps; 0 to count epochs or, in an external run, until the job says so.
        public var steps = 0
        /// Who chooses the learning rate: `plan`, this schedule, or `job`, in an external run. Nil is `plan`.
        public var rate: String? = "plan"
        public var learningRate: Float = 0.1
        /// Steps of linear warm-up, as a fraction of all steps.
        public var warmup: Double = 0.05
        /// Power of the polynomial decay to zero.
        public var decayPower: Double = 2
        /// Values of the head in parts of the run, one after the other; nil for none.
        public var stages: [Stage]? = []
    }

    /// Verification during and after training.
    public struct Evaluation: Codable, Sendable, Hashable {
        /// Steps between evaluations; 0 for only one at the end.
        public var every = 0
        /// Held-out pairs to compare; 0 for none.
        public var heldOutPairs = 6000
        /// InsightFace `.bin` verification sets.
        public var sets: [String] = []
    }

    /// When the whole state is written to files. Does not change the result.
    public struct Checkpoint: Codable, Sendable, Hashable {
        /// Where the checkpoints are, one directory each; empty for `checkpoints` in `output`.
        public var directory = ""
        /// Steps between checkpoints; 0 for none by steps.
        public var everySteps = 0
        /// Minutes between checkpoints; 0 for none by time.
        public var everyMinutes: Double = 0
        /// How many are kept, the newest ones; 0 for all.
        public var keep = 3
    }

    /// The processes that the run starts with. Does not change the result.
    public struct Cluster: Codable, Sendable, Hashable {
        /// Shard servers to wait for.
        public var shards = 1
        /// Workers to wait for.
        public var workers = 1
        /// Seconds without a heartbeat after which a member counts as lost.
        public var leaseSeconds: Double = 10
        /// Seconds after which a worker that others wait for is left out for a while, if the others can go on without it; 0: never.
        public var stuckSeconds: Double = 30
        /// Refuse members whose kernels were chosen for another instruction set: their sums may round differently.
        public var sameInstructionSet = true
        /// Whether slices move by themselves when shards join: `auto` or `manual`.
        public var rebalance = "auto"
        /// The most slices that are on their way to another shard at the same time.
        public var movesAtOnce = 4
        /// Copies of every slice: 1, or 2 with a second one at another shard. Nil is 1.
        public var copies: Int? = 1
        /// Seconds after its lease that a shard is waited for before its slices are made from their second copies. Nil is 30.
        public var promoteAfter: Double? = 30
        /// The run waits while any slice has fewer copies than this. Nil is 1.
        public var minCopies: Int? = 1
        /// How micro-batches are divided among workers: `measured`, by the speed that each has shown, or `equal`.
        public var shares: String? = "measured"
        /// Whether a job may begin anew many steps back by itself, `allow`, or an operator is asked, `ask`. Nil is `ask`.
        public var jobGoesBack: String? = "ask"
        /// The run pauses once this many steps are committed, until an operator resumes it; 0: it does not.
        public var pauseAfter = 0
    }
}
