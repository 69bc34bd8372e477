//! Templates: what they match, what they take out and put in, and what is none.

use super::{TemplateError, TopicError, TopicTemplate};

fn template(text: &str) -> TopicTemplate {
    TopicTemplate::new(text).unwrap()
}

fn extracted(text: &str, topic: &str) -> Option<Vec<(String, String)>> {
    let template = template(text);
    let parameters = template.extract(topic)?;
    Some(parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn parameters_are_taken_out_by_name() {
    assert_eq!(extracted("a/{x}/b/{y}", "a/1/b/2"), pairs(&[("x", "1"), ("y", "2")]));
    assert_eq!(extracted("{x}", ""), pairs(&[("x", "")]));
    assert_eq!(extracted("a/{x}", "a/"), pairs(&[("x", "")]));
    assert_eq!(extracted("plain/topic", "plain/topic"), pairs(&[]));
    assert_eq!(extracted("a/{rest...}", "a/b/c"), pairs(&[("rest", "b/c")]));
    assert_eq!(extracted("a/{rest...}", "a"), pairs(&[("rest", "")]));
    let template = template("a/{x}");
    let found = template.extract("a/1").unwrap();
    assert_eq!((found.get("x"), found.get("y")), (Some("1"), None));
}

#[test]
fn a_template_matches_what_its_filter_matches() {
    let topics = ["a", "a/", "a/b", "a/b/c", "a//c", "/", "b", "b/c", "$x/b", "$x", "a/$x"];
    for text in
        ["a", "a/{x}", "a/{x}/c", "{x}/b", "{x}", "a/{r...}", "{r...}", "{x}/{r...}", "/{x}", "$x/{y}"]
    {
        let template = template(text);
        let filter = template.filter();
        for topic in topics {
            assert_eq!(template.matches(topic), filter.matches(topic), "{text} {topic}");
        }
    }
}

#[test]
fn what_is_filled_in_can_be_taken_out_again() {
    let template = template("a/{x}/{r...}");
    assert_eq!(template.parameters().collect::<Vec<_>>(), ["x", "r"]);
    for (x, r) in [("1", "2"), ("", "2/3"), ("ü", "/")] {
        let topic = template.fill(&[("r", r), ("x", x)]).unwrap();
        let found = template.extract(topic.as_str()).unwrap();
        assert_eq!((found.get("x"), found.get("r")), (Some(x), Some(r)));
    }
    assert_eq!(template.fill(&[("x", "1"), ("r", "")]).unwrap().as_str(), "a/1");
}

#[test]
fn values_that_would_change_the_topic_are_refused() {
    let template = template("a/{x}");
    let fill = |value| template.fill(&[("x", value)]);
    assert!(matches!(fill("b/c"), Err(TemplateError::SeveralLevels { .. })));
    for value in ["+", "#", "x\0"] {
        assert!(matches!(fill(value), Err(TemplateError::Topic(_))), "{value:?}");
    }
    assert!(matches!(template.fill(&[]), Err(TemplateError::MissingValue { .. })));
    assert!(matches!(template.fill(&[("x", "1"), ("y", "2")]), Err(TemplateError::UnknownName { .. })));
    assert!(matches!(template.fill(&[("x", "1"), ("x", "2")]), Err(TemplateError::DuplicateName { .. })));
    let empty = TopicTemplate::new("{x}").unwrap().fill(&[("x", "")]);
    assert_eq!(empty, Err(TemplateError::Topic(TopicError::Empty)));
}

#[test]
fn what_is_no_template_is_named() {
    for text in ["a{x}", "{x}b", "{}", "{...}", "{x", "x}", "{x}{y}", "{{x}}"] {
        assert!(matches!(TopicTemplate::new(text), Err(TemplateError::MisplacedBraces { .. })), "{text}");
    }
    assert!(matches!(TopicTemplate::new("{r...}/a"), Err(TemplateError::MisplacedRest { .. })));
    assert!(matches!(TopicTemplate::new("{x}/{x}"), Err(TemplateError::DuplicateName { .. })));
    assert!(matches!(TopicTemplate::new("$share/g/{x}"), Err(TemplateError::Shared { .. })));
    for text in ["", "a/+", "#/{x}", "a#/b", "a\0"] {
        assert!(matches!(TopicTemplate::new(text), Err(TemplateError::Topic(_))), "{text:?}");
    }
}

#[test]
fn a_group_is_put_before_the_filter() {
    let filter = template("jobs/{id}").shared_filter("workers").unwrap();
    assert_eq!(filter.as_str(), "$share/workers/jobs/+");
    assert!(template("jobs/{id}").shared_filter("a/b+").is_err());
}
