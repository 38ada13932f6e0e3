//! Gives a template's expressions Python's meaning.
//!
//! The engine parses Jinja as Python's does, but its operators are its own: they know no `'%d' % 1`,
//! iterate over None, order numbers and texts. So the syntax tree is rebuilt before it is compiled,
//! with calls of operators.rs in the place of such operators. `and`, `or`, `not`, conditions,
//! calls, names and numbers' other arithmetic stay the engine's.
use minijinja::machinery::ast::{self, BinOpKind, CallArg, CompareOpKind, Expr, Spanned, Stmt};
use minijinja::machinery::Span;
use minijinja::Value;

use super::methods;
use super::native;

/// The whole template.
pub fn template<'a>(stmt: &Stmt<'a>) -> Stmt<'a> {
    statement(stmt)
}

fn call<'a>(name: &'static str, args: Vec<Expr<'a>>, span: Span) -> Expr<'a> {
    Expr::Call(Spanned::new(call_of(name, args, span), span))
}

fn call_of<'a>(name: &'static str, args: Vec<Expr<'a>>, span: Span) -> ast::Call<'a> {
    let args = args.into_iter().map(CallArg::Pos).collect();
    ast::Call { expr: Expr::Var(Spanned::new(ast::Var { id: name }, span)), args }
}

fn constant<'a>(value: impl Into<Value>, span: Span) -> Expr<'a> {
    Expr::Const(Spanned::new(ast::Const { value: value.into() }, span))
}

// ---- expressions --------------------------------------------------------------------------------

fn expressions<'a>(items: &[Expr<'a>]) -> Vec<Expr<'a>> {
    items.iter().map(expression).collect()
}

fn optional<'a>(expr: &Option<Expr<'a>>) -> Option<Expr<'a>> {
    expr.as_ref().map(expression)
}

fn arguments<'a>(args: &[CallArg<'a>]) -> Vec<CallArg<'a>> {
    args.iter()
        .map(|arg| match arg {
            CallArg::Pos(x) => CallArg::Pos(expression(x)),
            CallArg::Kwarg(name, x) => CallArg::Kwarg(name, expression(x)),
            CallArg::PosSplat(x) => CallArg::PosSplat(expression(x)),
            CallArg::KwargSplat(x) => CallArg::KwargSplat(expression(x)),
        })
        .collect()
}

fn expression<'a>(expr: &Expr<'a>) -> Expr<'a> {
    let span = expr.span();
    match expr {
        Expr::Var(x) => Expr::Var(Spanned::new(ast::Var { id: x.id }, span)),
        Expr::Const(x) => constant(x.value.clone(), span),
        Expr::Slice(x) => slice(x, span),
        Expr::UnaryOp(x) => {
            let expr = expression(&x.expr);
            match (&x.op, &expr) {
                (ast::UnaryOpKind::Not, _) => {
                    let op = ast::UnaryOpKind::Not;
                    Expr::UnaryOp(Spanned::new(ast::UnaryOp { op, expr }, span))
                }
                (ast::UnaryOpKind::Neg, Expr::Const(number)) if number.value.is_number() => {
                    constant(native::negative(&number.value).unwrap_or_default(), span)
                }
                (ast::UnaryOpKind::Neg, _) => call(" -", vec![expr], span),
            }
        }
        Expr::BinOp(x) => binary(x, span),
        Expr::Compare(x) => comparison(x, span),
        Expr::IfExpr(x) => Expr::IfExpr(Spanned::new(
            ast::IfExpr {
                test_expr: expression(&x.test_expr),
                true_expr: expression(&x.true_expr),
                false_expr: optional(&x.false_expr),
            },
            span,
        )),
        Expr::Filter(x) => Expr::Filter(Spanned::new(
            ast::Filter { name: x.name, expr: optional(&x.expr), args: arguments(&x.args) },
            span,
        )),
        Expr::Test(x) => Expr::Test(Spanned::new(
            ast::Test { name: x.name, expr: expression(&x.expr), args: arguments(&x.args) },
            span,
        )),
        Expr::GetAttr(x) => attribute(x, span),
        Expr::GetItem(x) => {
            call(" []", vec![expression(&x.expr), expression(&x.subscript_expr)], span)
        }
        Expr::Call(x) => Expr::Call(Spanned::new(invocation(x), span)),
        Expr::List(x) => sequence(" list", &x.items, span),
        Expr::Tuple(x) => sequence(" tuple", &x.items, span),
        Expr::Map(x) => {
            let pairs = x.keys.iter().zip(&x.values);
            call(" dict", pairs.flat_map(|(k, v)| [expression(k), expression(v)]).collect(), span)
        }
    }
}

/// A list of constants stays the engine's own: it is made once.
fn sequence<'a>(name: &'static str, items: &[Expr<'a>], span: Span) -> Expr<'a> {
    let is_constant = items.iter().all(|item| matches!(item, Expr::Const(_)));
    match (is_constant, name) {
        (true, " list") => Expr::List(Spanned::new(ast::List { items: expressions(items) }, span)),
        (true, _) => Expr::Tuple(Spanned::new(ast::Tuple { items: expressions(items) }, span)),
        (false, _) => call(name, expressions(items), span),
    }
}

fn slice<'a>(x: &ast::Slice<'a>, span: Span) -> Expr<'a> {
    let bound = |x: &Option<Expr<'a>>| optional(x).unwrap_or_else(|| constant((), span));
    let bounds = vec![expression(&x.expr), bound(&x.start), bound(&x.stop), bound(&x.step)];
    call(" [:]", bounds, span)
}

fn attribute<'a>(x: &ast::GetAttr<'a>, span: Span) -> Expr<'a> {
    let expr = expression(&x.expr);
    match methods::is_name(x.name) {
        true => call(" .", vec![expr, constant(x.name, span)], span),
        false => Expr::GetAttr(Spanned::new(ast::GetAttr { name: x.name, expr }, span)),
    }
}

/// A called attribute stays one: the engine knows methods.
fn invocation<'a>(x: &ast::Call<'a>) -> ast::Call<'a> {
    let expr = match &x.expr {
        Expr::GetAttr(attr) => Expr::GetAttr(Spanned::new(
            ast::GetAttr { name: attr.name, expr: expression(&attr.expr) },
            x.expr.span(),
        )),
        other => expression(other),
    };
    ast::Call { expr, args: arguments(&x.args) }
}

fn binary<'a>(x: &ast::BinOp<'a>, span: Span) -> Expr<'a> {
    let name = match x.op {
        BinOpKind::Eq => " ==",
        BinOpKind::Ne => " !=",
        BinOpKind::Lt => " <",
        BinOpKind::Lte => " <=",
        BinOpKind::Gt => " >",
        BinOpKind::Gte => " >=",
        BinOpKind::In => " in",
        BinOpKind::Add => " +",
        BinOpKind::Mul => " *",
        BinOpKind::Rem => " %",
        BinOpKind::Concat => return concatenation(x, span),
        op => {
            let (left, right) = (expression(&x.left), expression(&x.right));
            return Expr::BinOp(Spanned::new(ast::BinOp { op, left, right }, span));
        }
    };
    call(name, vec![expression(&x.left), expression(&x.right)], span)
}

/// `a ~ b ~ c` is one call.
fn concatenation<'a>(x: &ast::BinOp<'a>, span: Span) -> Expr<'a> {
    let mut parts = vec![expression(&x.right)];
    let mut left = &x.left;
    while let Expr::BinOp(inner) = left {
        if !matches!(inner.op, BinOpKind::Concat) {
            break;
        }
        parts.push(expression(&inner.right));
        left = &inner.left;
    }
    parts.push(expression(left));
    parts.reverse();
    call(" ~", parts, span)
}

fn comparison<'a>(x: &ast::Compare<'a>, span: Span) -> Expr<'a> {
    let mut args = vec![expression(&x.expr)];
    for link in &x.ops {
        let operator = match link.op {
            CompareOpKind::Eq => "==",
            CompareOpKind::Ne => "!=",
            CompareOpKind::Lt => "<",
            CompareOpKind::Lte => "<=",
            CompareOpKind::Gt => ">",
            CompareOpKind::Gte => ">=",
            CompareOpKind::In => "in",
            CompareOpKind::NotIn => "not in",
        };
        args.push(constant(operator, span));
        args.push(expression(&link.expr));
    }
    call(" chain", args, span)
}

// ---- statements ---------------------------------------------------------------------------------

fn statements<'a>(body: &[Stmt<'a>]) -> Vec<Stmt<'a>> {
    body.iter().map(statement).collect()
}

fn statement<'a>(stmt: &Stmt<'a>) -> Stmt<'a> {
    match stmt {
        Stmt::Template(x) => {
            let children = statements(&x.children);
            Stmt::Template(Spanned::new(ast::Template { children }, x.span()))
        }
        Stmt::EmitExpr(x) => {
            Stmt::EmitExpr(Spanned::new(ast::EmitExpr { expr: expression(&x.expr) }, x.span()))
        }
        Stmt::EmitRaw(x) => Stmt::EmitRaw(Spanned::new(ast::EmitRaw { raw: x.raw }, x.span())),
        Stmt::ForLoop(x) => Stmt::ForLoop(Spanned::new(for_loop(x), x.span())),
        Stmt::IfCond(x) => Stmt::IfCond(Spanned::new(
            ast::IfCond {
                expr: expression(&x.expr),
                true_body: statements(&x.true_body),
                false_body: statements(&x.false_body),
            },
            x.span(),
        )),
        Stmt::WithBlock(x) => {
            let assignments = x.assignments.iter();
            let assignments = assignments.map(|(t, v)| (target(t), expression(v))).collect();
            let body = statements(&x.body);
            Stmt::WithBlock(Spanned::new(ast::WithBlock { assignments, body }, x.span()))
        }
        Stmt::Set(x) => Stmt::Set(Spanned::new(set(x), x.span())),
        Stmt::SetBlock(x) => Stmt::SetBlock(Spanned::new(
            ast::SetBlock {
                target: target(&x.target),
                filter: optional(&x.filter),
                body: statements(&x.body),
            },
            x.span(),
        )),
        other => rare(other),
    }
}

fn rare<'a>(stmt: &Stmt<'a>) -> Stmt<'a> {
    match stmt {
        Stmt::AutoEscape(x) => Stmt::AutoEscape(Spanned::new(
            ast::AutoEscape { enabled: expression(&x.enabled), body: statements(&x.body) },
            x.span(),
        )),
        Stmt::FilterBlock(x) => Stmt::FilterBlock(Spanned::new(
            ast::FilterBlock {
                filter: expression(&x.filter),
                filter_span: x.filter_span,
                body: statements(&x.body),
            },
            x.span(),
        )),
        Stmt::Block(x) => Stmt::Block(Spanned::new(
            ast::Block { name: x.name, required: x.required, body: statements(&x.body) },
            x.span(),
        )),
        Stmt::Macro(x) => Stmt::Macro(Spanned::new(definition(x), x.span())),
        Stmt::CallBlock(x) => Stmt::CallBlock(Spanned::new(
            ast::CallBlock {
                call: Spanned::new(invocation(&x.call), x.call.span()),
                call_expr_span: x.call_expr_span,
                macro_decl: Spanned::new(definition(&x.macro_decl), x.macro_decl.span()),
            },
            x.span(),
        )),
        Stmt::Continue(x) => Stmt::Continue(Spanned::new(ast::Continue, x.span())),
        Stmt::Break(x) => Stmt::Break(Spanned::new(ast::Break, x.span())),
        Stmt::Do(x) => Stmt::Do(Spanned::new(
            ast::Do { call: Spanned::new(invocation(&x.call), x.call.span()) },
            x.span(),
        )),
        // include, import, extends: there are no other templates
        other => no_loader(other),
    }
}

/// As in Python: an error when it is reached.
fn no_loader<'a>(stmt: &Stmt<'a>) -> Stmt<'a> {
    let span = match stmt {
        Stmt::Import(x) => x.span(),
        Stmt::FromImport(x) => x.span(),
        Stmt::Extends(x) => x.span(),
        Stmt::Include(x) => x.span(),
        _ => Span::default(),
    };
    let words = constant("a chat template cannot load another template", span);
    let call = Spanned::new(call_of("raise_exception", vec![words], span), span);
    Stmt::Do(Spanned::new(ast::Do { call }, span))
}


/// What is assigned to: names, tuples of them, a namespace's attribute.
fn target<'a>(expr: &Expr<'a>) -> Expr<'a> {
    let span = expr.span();
    match expr {
        Expr::Var(x) => Expr::Var(Spanned::new(ast::Var { id: x.id }, span)),
        Expr::GetAttr(x) => Expr::GetAttr(Spanned::new(
            ast::GetAttr { name: x.name, expr: expression(&x.expr) },
            span,
        )),
        Expr::Tuple(x) => Expr::Tuple(Spanned::new(
            ast::Tuple { items: x.items.iter().map(target).collect() },
            span,
        )),
        Expr::List(x) => Expr::List(Spanned::new(
            ast::List { items: x.items.iter().map(target).collect() },
            span,
        )),
        other => expression(other),
    }
}

fn set<'a>(x: &ast::Set<'a>) -> ast::Set<'a> {
    let value = expression(&x.expr);
    let expr = match &x.target {
        Expr::GetAttr(_) => call(" set", vec![value], x.expr.span()),
        _ => value,
    };
    ast::Set { target: target(&x.target), expr }
}

fn for_loop<'a>(x: &ast::ForLoop<'a>) -> ast::ForLoop<'a> {
    ast::ForLoop {
        target: target(&x.target),
        iter: call(" for", vec![expression(&x.iter)], x.iter.span()),
        filter_expr: optional(&x.filter_expr),
        recursive: x.recursive,
        body: statements(&x.body),
        else_body: statements(&x.else_body),
    }
}

fn definition<'a>(x: &ast::Macro<'a>) -> ast::Macro<'a> {
    ast::Macro {
        name: x.name,
        args: x.args.iter().map(target).collect(),
        defaults: expressions(&x.defaults),
        body: statements(&x.body),
    }
}
