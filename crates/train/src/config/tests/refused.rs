//! Configurations that are refused: messages name the line and the key.

use super::*;

#[test]
fn what_cannot_be_is_named_with_its_line_and_key() {
    // After the small configuration, which has seven lines.
    let cases = [
        (
            "[train]\nepoch = 3",
            "/runs/c.toml:9: `train.epoch`: no such key; the nearest is `epochs`",
        ),
        ("weigth = 3", "/runs/c.toml:8: `task.topic.weigth`: no such key; the nearest is `weight`"),
        ("[trian]", "/runs/c.toml:8: `trian`: no such key; the nearest is `train`"),
        ("[train]\nlr = 1", "`train.lr`: no such key; use `learning_rate`"),
        ("lr = 1", "`task.topic.lr`: no such key; use `learning_rate`"),
        ("label = \"x\"", "no such key; use `field`, the name of the field with the label"),
        ("type = \"x\"", "`task.topic.type`: no such key; use `kind`"),
        ("max_seq_length = 8", "no such key; use `max_length` in `[encoder]`"),
        ("[train]\nwarmup_steps = 8", "use `warmup`, the share of all steps, such as 0.1"),
        ("[train]\nseed = 8", "it belongs to the top of the file, before all tables"),
        ("[train]\ndevice = \"cpu\"", "`train.device`: no such key; training runs on the CPU"),
        ("[dataset]", "`dataset`: no such key; use the table `[data]`"),
        ("[[tasks]]\nname = \"a\"", "`tasks`: no such key; use the table `[[task]]`"),
        (
            "[train]\nschedule = \"cosine_with_restarts\"",
            "found the string \"cosine_with_restarts\"; write \"cosine\"",
        ),
        (
            "pooling = [\"average\"]",
            "found the string \"average\" (value 1 of the array); write \"mean\"",
        ),
        ("[[task]]\nname = \"a\"\nkind = \"NER\"", "found the string \"NER\"; write \"tokens\""),
        (
            "epochs = 3",
            "`task.topic.epochs`: no such key; it belongs to `[train]`; the nearest here",
        ),
        (
            "[train]\nepochs = \"3\"",
            "c.toml:9: `train.epochs`: expected a whole number from 0 to 2147483647, found the \
             string \"3\"",
        ),
        ("[train]\nepochs = 1.5", "expected a whole number from 0 to 2147483647, found 1.5"),
        ("[train]\nepochs = 2147483648", "from 0 to 2147483647, found 2147483648"),
        ("[train]\nepochs = 0", "`train.epochs`: expected at least 1, or `max_steps`, found 0"),
        ("[train]\nepochs = -1", "found -1"),
        ("[train]\nbatch_size = 0", "a whole number from 1 to 2147483647, found 0"),
        (
            "[train]\naccumulation = 33",
            "`train.accumulation`: expected a whole number from 1 to 32, found 33",
        ),
        ("[train]\nlog_every = 0", "a whole number from 1 to 9223372036854775807, found 0"),
        (
            "[train]\nlog_every = 9223372036854775808",
            "a whole number from 1 to 9223372036854775807, found 9223372036854775808",
        ),
        ("[train]\nmax_steps = -1", "expected a whole number of at least 0, found -1"),
        ("[train]\nmax_steps = \"1\"", "a whole number of at least 0, found the string \"1\""),
        (
            "[train]\nmax_steps = 99999999999999999999",
            "expected a whole number of at most 9223372036854775807, found 99999999999999999999",
        ),
        (
            "[train]\nmax_steps = -99999999999999999999",
            "of at least 0, found -99999999999999999999",
        ),
        ("[train]\nwarmup = 99999999999999999999", "from 0 to 1, found 99999999999999999999"),
        ("[train]\nwarmup = 1.1", "`train.warmup`: expected a number from 0 to 1, found 1.1"),
        ("[train]\nlearning_rate = nan", "at least 0, found nan"),
        ("[train]\nlearning_rate = 1e99", "at least 0, found 1e99"),
        ("[train]\nlearning_rate = 2000-01-01", "at least 0, found a date"),
        (
            "[train]\nbetas = [0.9, 1.0]",
            "`train.betas`: expected a number from 0 to below 1, found 1.0",
        ),
        (
            "[train]\nbetas = [0.9]",
            "`train.betas`: expected an array of 2 values, found an array of 1 value",
        ),
        ("[train]\nlayer_decay = 0", "above 0, up to 1, found 0"),
        (
            "[train]\nschedule = \"linaer\"",
            "expected \"constant\", \"linear\" or \"cosine\", found the string \"linaer\"",
        ),
        ("[train]\nschedule = 1", "expected \"constant\", \"linear\" or \"cosine\", found 1"),
        (
            "[train]\nbest = \"accuracy\"",
            "expected \"mean\" or TASK.METRIC with a task of topic, found \"accuracy\"",
        ),
        ("[train]\nbest = \"b.accuracy\"", "found \"b.accuracy\""),
        ("[train]\nbest = \"topic.f1\"", "expected a metric of topic (loss, accuracy, "),
        ("[encoder]\npooling = \"avg\"", "`encoder.pooling`: expected \"cls\", \"max\""),
        (
            "[encoder]\npooling = [\"cls\",\n\"avg\"]",
            "c.toml:10: `encoder.pooling`: expected \"cls\", \"max\"",
        ),
        ("[encoder]\npooling = [\"cls\", \"cls\"]", "expected each once, found `cls` twice"),
        ("[encoder]\npooling = []", "expected one or more of \"cls\", \"max\""),
        ("[encoder]\nrandom = 1", "expected true or false, found 1"),
        ("[encoder]\ndropout = 1.0", "from 0 to below 1, found 1.0"),
        (
            "[multitask]\nweights = \"equal\"",
            "`multitask.weights`: expected one of \"sum\", \"log-classes\", \"uncertainty\", \"uw-so\", \
             \"random\", or a table with a number of at least 0 for each task, found the string \"equal\"",
        ),
        (
            "teacher_weight = 0.5",
            "`task.topic.teacher_weight`: applies beside `teacher`, found none",
        ),
        (
            "teacher = \"t\"\nkeep = \"distill\"",
            "`task.topic.keep`: applies without `teacher`, found both",
        ),
        (
            "teacher = \"t\"\nteacher_weight = 0.5\nanneal = true",
            "`task.topic.teacher_weight`: applies without `anneal`",
        ),
        ("[multitask]\nweights = { topic = -1 }", "`multitask.weights.topic`: expected a number"),
        (
            "[multitask]\nweights = { mood = 1 }",
            "c.toml:9: `multitask.weights`: expected names of tasks (topic), found \"mood\"",
        ),
        (
            "[multitask]\nweights = \"uw-so\"",
            "`multitask.weights`: expected two tasks or more, found one",
        ),
        (
            "[multitask]\ngradients = \"upgrad\"",
            "`multitask.gradients`: expected two tasks or more, found one",
        ),
        (
            "[multitask]\nconflict_every = 9",
            "`multitask.conflict_every`: expected two tasks or more, found one",
        ),
        (
            "[multitask]\ntemperature = 2",
            "`multitask.temperature`: applies to `weights = \"uw-so\"` alone",
        ),
        ("[multitask]\ngradients = \"mgda\"", "or \"upgrad\", found the string \"mgda\""),
        ("[sampler]\nkind = \"temperature\"", "c.toml:8: `sampler.temperature`: missing"),
        (
            "[sampler]\nkind = \"temperature\"\ntemperature = 0",
            "expected a number above 0, found 0",
        ),
        (
            "[sampler]\nkind = \"uniform\"\ntemperature = 2",
            "applies to `kind = \"temperature\"` alone",
        ),
        ("[sampler]\nkind = \"random\"", "or \"round-robin\", found the string \"random\""),
        ("weight = -1", "a number of at least 0, found -1"),
        ("dropout = 1", "`task.topic.dropout`: expected a number from 0"),
        ("metric = \"f1\"", "`task.topic.metric`: expected one of loss, accuracy, "),
        ("labels = [\"a\"]", "at least 2 for classification, found 1"),
        ("labels = \"a\"", "`task.topic.labels`: expected an array, found the string"),
        (
            "labels = [\"a\", 1]",
            "`task.topic.labels`: expected a string, found 1 (value 2 of the array)",
        ),
        ("labels = [\"a\", \"b\", \"a\"]", "found \"a\" twice"),
        ("labels = [\"a\", \"\"]", "found an empty one"),
        ("labels = [\"a\", \"b \"]", "expected labels without blanks at their ends, found \"b \""),
        ("field = \"\"", "`task.topic.field`: expected the name of a field, found none"),
        ("field = [\"a\", \"b\"]", "expected one field for classification, found 2"),
        ("separator = \";\"", "applies to multilabel, found a task of kind classification"),
        ("label_matching = \"fuzzy\"", "expected \"exact\" or \"normalized\", found the string"),
        (
            "[[task]]\nname = \"a\"\nkind = \"tokens\"\nlabel_matching = \"normalized\"",
            "applies to classification, multilabel, ordinal, found a task of kind tokens",
        ),
        (
            "[[task]]\nname = \"a\"\nkind = \"multilabel\"\nseparator = \"\"",
            "`task.a.separator`: expected a text between labels, found an empty one",
        ),
        (
            "[[task]]\nname = \"a\"\nkind = \"multilabel\"\nempty = \"zero\"",
            "`task.a.empty`: expected \"unlabelled\" or \"none\", found the string \"zero\"",
        ),
        (
            "[[task]]\nname = \"a\"\nkind = \"multilabel\"\nfield = [\"x\", \"x\"]",
            "`task.a.field`: expected each field once, found \"x\" twice",
        ),
        (
            "[[task]]\nname = \"a\"\nkind = \"multilabel\"\nfield = [\"x\", \"y\"]\nempty = \"none\"",
            "`task.a.empty`: applies to a single field, found several in `field`",
        ),
        (
            "[[task]]\nname = \"a\"\nkind = \"multilabel\"\nfield = [\"x\", \"y\"]\nlabels = [\"l\"]",
            "`task.a.labels`: expected 2, one for each of the fields in `field`, found 1",
        ),
        (
            "labels = [\"a\", \"b\"]\nclass_weights = { c = 1 }",
            "expected labels of the task, found \"c\"",
        ),
        (
            "class_weights = \"even\"",
            "expected \"balanced\" or a table with a number of at least 0 for each label",
        ),
        (
            "class_weights = { c = -1 }",
            "`task.topic.class_weights.c`: expected a number of at least 0, found -1",
        ),
        (
            "positive_weights = \"balanced\"",
            "`task.topic.positive_weights`: applies to multilabel, found a task of kind \
             classification",
        ),
        ("activation = \"relu\"", "found no `hidden`"),
        ("input = \"embedding\"\nlayer = 2", "the embedding is the encoder's"),
        ("layer = \"first\"", "expected \"last\", \"mix\" or the number"),
        ("layer = -1", "or the number of a layer (0: the embeddings)"),
        ("keep = \"replay\"", "expected \"distill\", found the string"),
        ("pair = \"both\"", "expected \"joint\" or \"separate\", found the string"),
        (
            "pair = \"joint\"\npair_product = true",
            "`task.topic.pair_product`: applies to `pair = \"separate\"` alone",
        ),
        (
            "[[task]]\nname = \"a\"\nkind = \"tokens\"\npair = \"separate\"",
            "`task.a.pair`: applies to classification, multilabel, regression, ordinal, found a task \
             of kind tokens",
        ),
        ("concatenation_sent_multiplication = true", "use `pair_product`"),
        (
            "dev = \"d.jsonl\"",
            "`task.topic.dev`: applies to a task with files of its own, found no `train`",
        ),
        (
            "loss = \"cosent\"",
            "applies to similarity, retrieval, distillation, found a task of kind classification",
        ),
        (
            "[[task]]\nname = \"topic\"\nkind = \"tokens\"",
            "expected names that differ, found `topic` twice",
        ),
        (
            "[[task]]\nname = \"embedding\"\nkind = \"regression\"",
            "`task.embedding.name`: expected another name than `embedding`, by which requests",
        ),
        ("[[task]]\nkind = \"tokens\"", "c.toml:8: `task.2.name`: missing; expected a string"),
        (
            "[[task]]\nname = \"a\"",
            "`task.a.kind`: missing; expected \"classification\", \"multilabel\"",
        ),
        (
            "[[task]]\nname = \"a\"\nkind = \"pairs\"",
            "`task.a.kind`: expected \"classification\", ",
        ),
        (
            "[[task]]\nname = \"a\"\nkind = \"regression\"\nlabels = [\"a\", \"b\"]",
            "applies to classification, multilabel, tokens, ordinal, found a task of kind regression",
        ),
        (
            "[[task]]\nname = \"a\"\nkind = \"tokens\"\npooling = \"cls\"",
            "found a task of kind tokens",
        ),
        ("[freeze]\nparameters = \"all\"", "expected tables `[[freeze]]`"),
        ("[[freeze]]", "`freeze.1.parameters`: expected groups such as"),
        ("[[freeze]]\nparameter = \"all\"", "`freeze.1.parameter`: no such key"),
        (
            "[[freeze]]\nparameters = \"all\"\nuntil = \"epoch 0\"",
            "`freeze.1.until`: expected \"epoch N\" or \"step N\", counted from 1, found the \
             string \"epoch 0\"",
        ),
        ("[[freeze]]\nparameters = \"all\"\nuntil = 3", "found 3"),
        (
            "[[freeze]]\nparameters = \"all\"\nfrom = \"step 9\"\nuntil = \"step 8\"",
            "not before `from`",
        ),
        ("[checkpoint]\nkeep = 0", "a whole number from 1 to 2147483647, found 0"),
    ];
    for (more, expected) in cases {
        let error = parse(&format!("{SMALL}{more}\n"), &[]).expect_err(more);
        assert_eq!(error.kind(), ErrorKind::Config, "{more}");
        let message = error.to_string();
        assert!(message.contains(expected), "{more}: {message}");
        assert!(message.starts_with("/runs/c.toml:"), "{message}");
    }
    for (text, expected) in [
        ("", "c.toml:1: `task`: expected at least one `[[task]]`, found none"),
        ("train = 3", "`train`: expected a table `[train]`, found 3"),
        ("sampler = \"uniform\"", "expected a table `[sampler]` with a `kind`, found the string"),
        ("[task]\nname = \"a\"", "`task`: expected tables `[[task]]`, found a table"),
        ("task = [1]", "`task`: expected tables `[[task]]`, found 1"),
        ("[[task]]\nname = \"a\"\nkind = \"tokens\"", "in `[data]` or in the task `a`"),
        ("[data]\ntrain = \"\"", "expected a file, found an empty name"),
    ] {
        let message = parse(text, &[]).expect_err(text).to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn what_set_breaks_is_named_by_the_argument() {
    for (set, message) in [
        ("train.epoch=5", "`train.epoch`: no such key; the nearest is `epochs`"),
        ("train.epochs=many", "`train.epochs`: expected a whole number"),
        ("seed=007", "`seed`: expected a whole number of at least 0, found the string \"007\""),
        ("task=[{kind='tokens'}]", "`task.1.name`: missing"),
        ("task.tpic.weight=2", "expected one of topic after `task.`, found `tpic`"),
        ("train=3", "`train`: expected a table `[train]`, found 3"),
    ] {
        let error = parse(SMALL, &[set]).expect_err(set).to_string();
        assert!(error.starts_with(&format!("--set {set}: {message}")), "{error}");
    }
}
